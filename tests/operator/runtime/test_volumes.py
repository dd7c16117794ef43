import base64
import stat
from pathlib import Path
from typing import Any

import pytest

from forebay_operator.model import CONFIG_MAP, BadManifest, Key, Object
from forebay_operator.runtime.volumes import PodDirectory


def pod(*volumes: dict[str, Any], **mounts: str) -> Object:
    listed = [{"name": name, "mountPath": path} for name, path in mounts.items()]
    return {
        "metadata": {"namespace": "ns", "name": "p", "uid": "u"},
        "spec": {"volumes": list(volumes), "containers": [{"name": "c", "volumeMounts": listed}]},
    }


def secret(**values: bytes) -> Object:
    return {"kind": "Secret", "data": {k: base64.b64encode(v).decode() for k, v in values.items()}}


def test_secrets_become_private_files_below_the_root(tmp_path: Path) -> None:
    place = PodDirectory(tmp_path / "pod", tmp_path / "claims")
    place.prepare(pod({"name": "s", "secret": {"secretName": "tls"}}, s="/etc/tls"), lambda _: secret(key=b"\x00k"))
    file = place.root / "etc/tls/key"
    assert file.read_bytes() == b"\x00k"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_changed_object_changes_its_files_at_once(tmp_path: Path) -> None:
    place, key = PodDirectory(tmp_path / "pod", tmp_path / "claims"), Key(CONFIG_MAP, "ns", "c")
    objects: dict[Key, Object] = {key: {"data": {"a": "1", "gone": "x"}}}
    wanted = pod({"name": "v", "configMap": {"name": "c"}}, v="/etc/c")
    place.prepare(wanted, objects.get)
    before = (place.root / "etc/c").resolve()
    place.refresh(wanted, objects.get)
    assert (place.root / "etc/c").resolve() == before
    objects[key] = {"data": {"a": "2"}}
    place.refresh(wanted, objects.get)
    assert {p.name: p.read_text() for p in (place.root / "etc/c").iterdir()} == {"a": "2"}
    assert not before.exists()


def test_claims_and_host_paths_outlive_the_pod(tmp_path: Path) -> None:
    place = PodDirectory(tmp_path / "pod", tmp_path / "claims")
    volumes: list[dict[str, Any]] = [
        {"name": "store", "persistentVolumeClaim": {"claimName": "store-p"}},
        {"name": "host", "hostPath": {"path": str(tmp_path / "host")}},
        {"name": "tmp", "emptyDir": {}},
    ]
    place.prepare(pod(*volumes, store="/data", host="/run/x", tmp="/tmp"), lambda _: None)
    for name in ("data", "run/x", "tmp"):
        (place.root / name / "file").write_text(name)
    place.remove()
    assert (tmp_path / "claims/store-p/file").read_text() == "data"
    assert (tmp_path / "host/file").read_text() == "run/x"
    assert not place.path.exists()


def test_a_directory_is_emptied_for_another_pod_of_the_name(tmp_path: Path) -> None:
    place = PodDirectory(tmp_path / "pod", tmp_path / "claims")
    for uid, kept in (("1", False), ("1", True), ("2", False)):
        place.belong_to(uid)
        assert (place.path / "file").exists() is kept
        (place.path / "file").touch()


@pytest.mark.parametrize(
    ("volume", "message"),
    [({"secret": {"secretName": "no"}}, "Secret ns/no not found"), ({"nfs": {}}, "a local pod knows")],
)
def test_what_is_missing_is_named(tmp_path: Path, volume: dict[str, Any], message: str) -> None:
    place = PodDirectory(tmp_path / "pod", tmp_path / "claims")
    with pytest.raises(BadManifest, match=message):
        place.prepare(pod({"name": "v", **volume}, v="/v"), lambda _: None)
