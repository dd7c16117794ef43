import os
import stat
from pathlib import Path

import pytest
from dulwich.objects import Blob, Tree
from dulwich.objects import Commit as GitCommit
from dulwich.repo import MemoryRepo
from tests.operator.monitoring.conftest import Git

from forebay_operator.model import MonitoringLacks, MonitoringRefused
from forebay_operator.monitoring.source.base import Limits
from forebay_operator.monitoring.source.git import open_repository, read_commit

ROOT: dict[str, bytes | str] = {"forebay.yaml": "schema: 1\n"}


def tree_of(git: Git, revision: str = "HEAD", folder: str = "", limits: Limits = Limits()) -> list[str]:
    with open_repository(str(git.folder)) as repository:
        return list(read_commit(repository, revision, folder, limits).tree)


def code(git: Git, **given: object) -> tuple[str, str]:
    with pytest.raises(MonitoringRefused) as caught:
        tree_of(git, **given)  # type: ignore[arg-type]
    return caught.value.findings[0].code, caught.value.findings[0].file


def test_files_come_sorted_and_of_the_revision_that_was_named(git: Git) -> None:
    first = git.commit({**ROOT, "templates/rules/b.yaml": "b", "templates/rules/a.yaml": "a"})
    git.commit({"late": "x"})
    assert tree_of(git, first) == ["forebay.yaml", "templates/rules/a.yaml", "templates/rules/b.yaml"]
    assert "late" in tree_of(git, "main")


def test_only_the_folder_is_read(git: Git) -> None:
    git.commit({"monitoring/forebay.yaml": "schema: 1\n", "huge": b"x" * 3_000_000})
    assert tree_of(git, folder="/monitoring/") == ["forebay.yaml"]
    assert code(git, folder="nowhere") == ("MAC004", "nowhere")


def test_no_hook_and_no_filter_runs_and_nothing_is_checked_out(git: Git) -> None:
    trap = f"#!/bin/sh\ntouch {git.keys}/ran\n"
    git.commit({**ROOT, ".gitattributes": "* filter=trap\n"})
    for hook in ("post-checkout", "post-merge", "reference-transaction"):
        (git.folder / ".git/hooks").mkdir(exist_ok=True)
        path = git.folder / ".git/hooks" / hook
        path.write_text(trap)
        path.chmod(0o755)
    git("config", "filter.trap.smudge", f"touch {git.keys}/ran")
    (git.folder / "forebay.yaml").unlink()
    assert "forebay.yaml" in tree_of(git)
    assert not (git.keys / "ran").exists()
    assert not (git.folder / "forebay.yaml").exists()


def test_links_are_refused(git: Git) -> None:
    git.write(ROOT)
    os.symlink("/etc/passwd", git.folder / "passwd")
    git.commit({})
    assert code(git) == ("MAC001", "passwd")


def test_limits_name_the_file(git: Git) -> None:
    git.commit({**ROOT, "a": "12345", "b": "12345"})
    assert code(git, limits=Limits(files=1)) == ("MAC003", "b")
    assert code(git, limits=Limits(file_bytes=4)) == ("MAC003", "a")
    assert code(git, limits=Limits(total_bytes=9)) == ("MAC003", "b")


def test_bytes_that_are_no_text_are_refused(git: Git) -> None:
    git.commit({**ROOT, "x": b"a\n\xff"})
    assert code(git) == ("MAC005", "x")


def test_an_empty_folder_is_no_repository(git: Git) -> None:
    git.commit({"README": "x"})
    assert code(git)[0] == "MAC004"
    assert code(git, revision="nobody")[0] == "MAC004"


def crafted(entries: list[tuple[bytes, int]]) -> MemoryRepo:
    """A commit that git itself would not make."""
    repository, tree, blob = MemoryRepo(), Tree(), Blob.from_string(b"schema: 1\n")
    tree.add(b"forebay.yaml", stat.S_IFREG | 0o644, blob.id)
    for name, mode in entries:
        tree.add(name, mode, blob.id)
    commit = GitCommit()
    commit.tree, commit.message = tree.id, b"x"
    commit.author = commit.committer = b"A <a@example.com>"
    commit.author_time = commit.commit_time = commit.author_timezone = commit.commit_timezone = 0
    repository.object_store.add_objects([(one, None) for one in (blob, tree, commit)])
    repository.refs[b"refs/heads/main"] = commit.id
    return repository


@pytest.mark.parametrize("name", [b"..", b".", b".git", b".GIT", b"git~1/../x", b"a\\b", b"a\nb", b"\xff", b"a/../b"])
def test_dishonest_names_are_refused(name: bytes) -> None:
    with pytest.raises(MonitoringRefused) as caught:
        read_commit(crafted([(name, stat.S_IFREG | 0o644)]), "main")
    assert caught.value.findings[0].code == "MAC002"


def test_submodules_are_refused() -> None:
    with pytest.raises(MonitoringRefused, match="MAC001 is a submodule"):
        read_commit(crafted([(b"sub", 0o160000)]), "main")


def test_a_missing_object_is_refused() -> None:
    repository = crafted([])
    blob = Blob.from_string(b"schema: 1\n")
    del repository.object_store._data[blob.id]  # type: ignore[attr-defined]
    with pytest.raises(MonitoringRefused, match="missing or broken"):
        read_commit(repository, "main")


def test_no_repository_is_said(tmp_path: Path) -> None:
    with pytest.raises(MonitoringLacks):
        open_repository(str(tmp_path))
