"""Whether this kernel and this user can mount, in words a person can act on."""

import errno
import os

from forebay_cache.model.errors import MountUnsupported

_NODES = {"/dev/fuse": "modprobe fuse", "/dev/loop-control": "modprobe loop"}
_CAP_SYS_ADMIN = 21


def missing_part() -> str:
    """What is missing for mounts and what to do about it; empty where nothing is."""
    if os.uname().sysname != "Linux":
        return "mounts need Linux; read over S3 instead"
    if not _may_mount():
        return "mounting needs root (CAP_SYS_ADMIN): run as root, or read over S3 instead"
    for path, remedy in _NODES.items():
        if not os.path.exists(path):
            return f"{path} is missing: {remedy}, or read over S3 instead"
    if not _has_erofs():
        return "the kernel has no EROFS: modprobe erofs (CONFIG_EROFS_FS, Linux 5.16 or later), or read over S3 instead"
    return ""


def unsupported(kind: str, exc: OSError) -> MountUnsupported | None:
    """The error of a mount attempt, where it means that a part is missing; None where it means anything else."""
    if exc.errno == errno.ENODEV:
        return MountUnsupported(f"the kernel has no {kind}: modprobe {kind}, or read over S3 instead")
    if exc.errno == errno.ENOSYS:
        return MountUnsupported("the kernel lacks fsopen(2): Linux 5.16 or later is needed, or read over S3 instead")
    if exc.errno == errno.EPERM:
        return MountUnsupported("mounting needs root (CAP_SYS_ADMIN): run the agent as root")
    return None


def _may_mount() -> bool:
    with open("/proc/self/status", encoding="ascii") as file:
        rights = next((line.split()[1] for line in file if line.startswith("CapEff:")), "0")
    return bool(int(rights, 16) >> _CAP_SYS_ADMIN & 1)


def _has_erofs() -> bool:
    """Built in, loaded, or loadable by the kernel itself at the first mount."""
    with open("/proc/filesystems", encoding="ascii") as file:
        if any(line.split()[-1] == "erofs" for line in file):
            return True
    return os.path.exists(f"/lib/modules/{os.uname().release}/kernel/fs/erofs")
