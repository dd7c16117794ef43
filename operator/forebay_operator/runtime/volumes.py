"""A pod's directory: its root, and its volumes, which the root's mount paths point to.

<pod>/root/<mount path>   symlink to the volume: a process of ours cannot have mounts of its own
<pod>/volumes/<name>      ConfigMap and Secret: symlink to <name>.<digest>, swapped whole, so a reader never sees half
                          of a change; files 0600. emptyDir: a directory that goes with the pod
<claims>/<claim>          directory that outlives the pod
"""

import base64
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forebay_operator.model import CONFIG_MAP, SECRET, BadManifest, Key, Object

Find = Callable[[Key], Object | None]


@dataclass(frozen=True, slots=True)
class PodDirectory:
    path: Path
    claims: Path

    @property
    def root(self) -> Path:
        return self.path / "root"

    def belong_to(self, uid: str) -> None:
        """Empties the directory when it was another pod's of the same name."""
        mark = self.path / "uid"
        if mark.is_file() and mark.read_text() == uid:
            return
        self.remove()
        self.path.mkdir(mode=0o700, parents=True)
        mark.write_text(uid)

    def prepare(self, pod: Object, find: Find) -> None:
        """Makes every volume and mount. Raises BadManifest with what is missing or not known here."""
        self.refresh(pod, find)
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        volumes = {volume["name"]: self.directory(volume) for volume in pod["spec"].get("volumes") or ()}
        for container in pod["spec"]["containers"]:
            for mount in sorted(container.get("volumeMounts") or (), key=lambda m: str(m["mountPath"])):
                self.mount(mount["mountPath"], volumes[mount["name"]])

    def refresh(self, pod: Object, find: Find) -> None:
        """Brings ConfigMap and Secret volumes up to date; touches nothing that is."""
        for volume in pod["spec"].get("volumes") or ():
            key = source_of(volume, pod["metadata"]["namespace"])
            if key:
                self.project(volume["name"], contents(key, find))

    def mount(self, path: str, target: Path) -> None:
        if not target.is_symlink():
            target.mkdir(mode=0o700, parents=True, exist_ok=True)
        link = self.root / path.strip("/")
        link.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        point(link, target)

    def directory(self, volume: Mapping[str, Any]) -> Path:
        """Where a volume's bytes are."""
        if "hostPath" in volume:
            return Path(volume["hostPath"]["path"])
        if "persistentVolumeClaim" in volume:
            return self.claims / str(volume["persistentVolumeClaim"]["claimName"])
        if "emptyDir" in volume or source_of(volume, ""):
            return self.path / "volumes" / str(volume["name"])
        raise BadManifest(
            f"volume {volume['name']}: a local pod knows configMap, secret, emptyDir, hostPath and claims"
        )

    def project(self, name: str, files: Mapping[str, bytes]) -> None:
        digest = hashlib.sha256(json.dumps({k: v.hex() for k, v in files.items()}, sort_keys=True).encode())
        place = self.path / "volumes"
        fresh, link = place / f"{name}.{digest.hexdigest()[:16]}", place / name
        old = link.resolve() if link.is_symlink() else None
        if old == fresh.resolve():
            return
        fresh.mkdir(mode=0o700, parents=True, exist_ok=True)
        for file, data in files.items():
            write_private(fresh / file, data)
        point(link, fresh)
        if old:
            shutil.rmtree(old, ignore_errors=True)

    def remove(self) -> None:
        """Removes the pod's own files; symlinks are not followed, so claims and host paths stay."""
        shutil.rmtree(self.path, ignore_errors=True)


def source_of(volume: Mapping[str, Any], namespace: str) -> Key | None:
    """The ConfigMap or Secret a volume shows."""
    if "configMap" in volume:
        return Key(CONFIG_MAP, namespace, volume["configMap"]["name"])
    return Key(SECRET, namespace, volume["secret"]["secretName"]) if "secret" in volume else None


def contents(key: Key, find: Find) -> Mapping[str, bytes]:
    obj = find(key)
    if obj is None:
        raise BadManifest(f"{key} not found")
    data = obj.get("data") or {}
    return {name: base64.b64decode(value) if key.kind == SECRET else value.encode() for name, value in data.items()}


def write_private(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)


def point(link: Path, target: Path) -> None:
    """Makes or swaps a symlink in one step."""
    if link.is_symlink() and os.readlink(link) == str(target):
        return
    fresh = link.with_name(f".{link.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    os.replace(fresh, link)
