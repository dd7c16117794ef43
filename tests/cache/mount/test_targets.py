"""Directories that mounts are shown at, before anything is mounted; tests/cache/csi/test_node.py has them with real mounts."""

from pathlib import Path

import pytest

from forebay_cache.model.errors import BadInput, TargetGone, TargetInUse
from forebay_cache.mount import mountinfo, targets
from forebay_cache.mount.mountinfo import MountPoint


@pytest.mark.parametrize(
    ("target", "words"),
    [("", "absolute"), ("relative", "absolute"), ("/a\0b", "absolute"), ("/", "root directory"), ("//..", "root")],
)
def test_what_is_no_place_for_a_mount_is_refused(target: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        targets.check(target)


def test_a_target_is_known_by_its_real_path(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert targets.check(f"{tmp_path}/link/../link/mnt/") == f"{tmp_path}/real/mnt"


def test_a_directory_we_made_goes_again_and_others_stay(tmp_path: Path) -> None:
    new, old = str(tmp_path / "a/new"), str(tmp_path / "a/old")
    assert targets.prepare(new) is True
    (tmp_path / "a/old").mkdir()
    assert targets.prepare(old) is False
    for target, made in ((new, True), (old, False)):
        targets.remove(target, made=made)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["old"]


def test_what_is_not_empty_or_no_directory_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_text("somebody's")
    with pytest.raises(TargetInUse, match="not empty"):
        targets.prepare(str(tmp_path / "full"))
    with pytest.raises(BadInput, match="must be a directory"):
        targets.prepare(str(tmp_path / "full/file"))
    with pytest.raises(BadInput, match="cannot be made: Not a directory"):
        targets.prepare(str(tmp_path / "full/file/below"))
    targets.remove(str(tmp_path / "full"), made=True)
    assert (tmp_path / "full/file").read_text() == "somebody's"


def test_a_pod_that_is_gone_is_no_place(tmp_path: Path) -> None:
    with pytest.raises(TargetGone, match=f"{tmp_path}/pod is not there"):
        targets.check_reaches_pods(f"{tmp_path}/pod/mount")
    assert not (tmp_path / "pod").exists()


@pytest.mark.parametrize("shared", [True, False])
def test_the_innermost_mount_around_a_target_says_whether_pods_see_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    points = [
        MountPoint("/", "8:1", "ext4", shared=not shared),
        MountPoint(str(tmp_path), "8:1", "ext4", shared=shared),
        MountPoint(f"{tmp_path}/pod/other", "0:50", "tmpfs", shared=not shared),
        MountPoint(f"{tmp_path}/po", "0:51", "tmpfs", shared=not shared),
    ]
    monkeypatch.setattr(mountinfo, "_points", lambda: points)
    (tmp_path / "pod").mkdir()
    if shared:
        targets.check_reaches_pods(f"{tmp_path}/pod/mount")
        return
    with pytest.raises(TargetInUse, match=rf"because {tmp_path} is not shared.*mountPropagation: Bidirectional"):
        targets.check_reaches_pods(f"{tmp_path}/pod/mount")
