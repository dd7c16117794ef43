"""Loop devices: read-only, gone by themselves with their last user.

Source: Linux include/uapi/linux/loop.h; LOOP_CONFIGURE sets everything in one call (Linux 5.8), so a crash never leaves a
half-made one.
"""

import errno
import fcntl
import os
import struct
from dataclasses import dataclass

from forebay_cache.model.errors import MountFailed, MountUnsupported

_CONTROL = "/dev/loop-control"
_GET_FREE, _CONFIGURE, _GET_STATUS = 0x4C82, 0x4C0A, 0x4C05
_SET_READ_AHEAD, _GET_SIZE = 0x1262, 0x80081272
_READ_ONLY, _AUTOCLEAR, _DIRECT_IO = 1, 4, 16
_STATUS = struct.Struct("<5Q4I64s64s32s2Q")
_CONFIG = struct.Struct("<II232s8Q")
_BLOCK = 4096
_ATTEMPTS = 100
"""Others take free devices between our two calls."""


@dataclass(slots=True)
class Loop:
    """An open loop device. It exists until `close` and the end of whatever is mounted from it."""

    path: str
    fd: int

    @property
    def size(self) -> int:
        data: bytes = fcntl.ioctl(self.fd, _GET_SIZE, bytes(8))
        return int.from_bytes(data, "little")

    def close(self) -> None:
        """Idempotent."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


def attach(file: int, name: str, *, direct: bool, read_ahead_kb: int) -> Loop:
    """A loop device over an open file, which the kernel holds from now on. `name` is for people who look at losetup.

    `direct`: reads go to the file as they are, past a second page cache. Raises MountUnsupported, MountFailed.
    """
    for _ in range(_ATTEMPTS):
        loop = _open_free()
        try:
            _configure(loop, file, name, direct=direct)
            fcntl.ioctl(loop.fd, _SET_READ_AHEAD, read_ahead_kb * 2)
        except OSError as exc:
            loop.close()
            if exc.errno != errno.EBUSY:
                raise MountFailed(f"{loop.path} for {name}: {exc.strerror}") from exc
        except BaseException:
            loop.close()
            raise
        else:
            return loop
    raise MountFailed(f"no loop device stayed free in {_ATTEMPTS} attempts; see losetup -a for who takes them")


def _open_free() -> Loop:
    try:
        control = os.open(_CONTROL, os.O_RDWR | os.O_CLOEXEC)
        try:
            path = f"/dev/loop{fcntl.ioctl(control, _GET_FREE)}"
        finally:
            os.close(control)
        return Loop(path, os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except FileNotFoundError as exc:
        raise MountUnsupported(f"{exc.filename} is missing: load the kernel module (modprobe loop)") from exc
    except OSError as exc:
        raise MountUnsupported(f"{_CONTROL} gives no loop device: {exc.strerror}; run as root on the node") from exc


def _configure(loop: Loop, file: int, name: str, *, direct: bool) -> None:
    flags = _READ_ONLY | _AUTOCLEAR | (_DIRECT_IO if direct else 0)
    status = _STATUS.pack(0, 0, 0, 0, 0, 0, 0, 0, flags, name.encode()[:63], b"", b"", 0, 0)
    fcntl.ioctl(loop.fd, _CONFIGURE, _CONFIG.pack(file, _BLOCK, status, *[0] * 8))
    told: bytes = fcntl.ioctl(loop.fd, _GET_STATUS, bytes(_STATUS.size))
    if direct and not _STATUS.unpack(told)[8] & _DIRECT_IO:
        raise MountUnsupported(f"{loop.path} refuses direct I/O over FUSE; a newer kernel is needed (5.16 or later)")
