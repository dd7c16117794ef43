"""What a call must hold, by the CSI specification and by what a Dataset is. Pure. Raises BadInput that names the field."""

import os
from collections.abc import Mapping
from typing import Any

from forebay_cache.contract.volume import HANDLE_LIMIT, VolumeAttributes
from forebay_cache.csi.wire.csi_pb2 import VolumeCapability
from forebay_cache.model.errors import BadInput

_MODES = VolumeCapability.AccessMode
_READERS = frozenset({_MODES.SINGLE_NODE_READER_ONLY, _MODES.MULTI_NODE_READER_ONLY})
_FLAGS = frozenset({"ro", "nosuid", "nodev", "noatime", "nodiratime", "relatime"})
"""Mount flags that hold anyway, or mean nothing here."""


def volume_id(value: str) -> str:
    present("volume_id", value)
    if len(value.encode()) > HANDLE_LIMIT:
        raise BadInput(f"volume_id must have at most {HANDLE_LIMIT} bytes")
    return value


def present(field: str, value: str) -> str:
    if not value:
        raise BadInput(f"{field} is missing")
    return value


def path(field: str, value: str, kubelet_dir: str) -> str:
    """A path of the kubelet's."""
    present(field, value)
    if not value.startswith("/") or "\0" in value or os.path.normpath(value) != value.rstrip("/"):
        raise BadInput(f"{field} {value!r} must be an absolute path without . and ..")
    if not value.startswith(kubelet_dir.rstrip("/") + "/"):
        raise BadInput(f"{field} {value} is not below {kubelet_dir}; set kubeletDir to the kubelet's --root-dir")
    return value.rstrip("/")


def capability(value: VolumeCapability, *, given: bool) -> None:
    """`given`: whether the call had one at all."""
    if not given:
        raise BadInput("volume_capability is missing")
    if value.WhichOneof("access_type") == "block":
        raise BadInput("volume_capability.block: a Dataset is files, not a block device; use volumeMode Filesystem")
    if value.WhichOneof("access_type") is None:
        raise BadInput("volume_capability.access_type is missing")
    _access_mode(value.access_mode.mode)
    _mount(value.mount)


def attributes(context: Mapping[str, str]) -> VolumeAttributes:
    if context.get("csi.storage.k8s.io/ephemeral") == "true":
        raise BadInput("volume_context: a Dataset is no inline volume; use the PersistentVolumeClaim of its name")
    try:
        return VolumeAttributes.model_validate(dict(context))
    except ValueError as exc:
        raise BadInput(f"volume_context: {_first(exc)}; the Dataset's operator writes volumeAttributes") from exc


def _access_mode(mode: int) -> None:
    if mode == _MODES.UNKNOWN:
        raise BadInput("volume_capability.access_mode is missing")
    if mode not in _READERS:
        name = _MODES.Mode.Name(mode) if mode in _MODES.Mode.values() else str(mode)
        raise BadInput(
            f"volume_capability.access_mode {name}: a Dataset is an immutable commit of what its origin holds, so nothing can "
            "be written to it; use accessModes [ReadOnlyMany] in PersistentVolume and claim"
        )


def _mount(mount: VolumeCapability.MountVolume) -> None:
    if mount.fs_type not in ("", "erofs"):
        raise BadInput(
            f"volume_capability.mount.fs_type {mount.fs_type}: a Dataset is mounted as erofs; leave fsType out"
        )
    if "rw" in mount.mount_flags:
        raise BadInput("volume_capability.mount.mount_flags: rw: a Dataset is read-only always; leave it out")
    unknown = sorted(set(mount.mount_flags) - _FLAGS)
    if unknown:
        raise BadInput(
            f"volume_capability.mount.mount_flags: {unknown[0]} is not known; use only {', '.join(sorted(_FLAGS))}"
        )


def _first(exc: ValueError) -> str:
    """The first field that pydantic complains of, in its words."""
    found: list[dict[str, Any]] = getattr(exc, "errors", lambda **_: [])(include_input=False, include_url=False)
    return f"{'.'.join(map(str, found[0]['loc']))}: {found[0]['msg']}" if found else "not understood"
