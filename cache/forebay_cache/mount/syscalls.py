"""The kernel's mount calls that Python lacks. A mount is made detached: no path leads to it, and it is gone with its
descriptor, so a crash half-way leaves nothing behind.

Source: fsopen(2), fsconfig(2), fsmount(2), open_tree(2), move_mount(2), umount2(2); Linux 5.2. The numbers are the same on
x86-64 and arm64. Callers turn OSError into MountFailed or MountUnsupported.
"""

import ctypes
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache

_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 428, 429, 430, 431, 432
_AT_FDCWD = -100
_SET_FLAG, _SET_STRING, _CREATE = 0, 1, 6
_READ_ONLY, _NO_SUID, _NO_DEVICES = 1, 2, 4
_CLOSE_ON_EXEC = 1
_CLONE_TREE = 1
_FROM_EMPTY_PATH, _TO_EMPTY_PATH = 0x04, 0x40
_DETACH, _NO_FOLLOW = 2, 8


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: int | bytes | None) -> int:
    """Raises OSError."""
    values = [ctypes.c_long(value) if isinstance(value, int) else ctypes.c_char_p(value) for value in arguments]
    result: int = _libc().syscall(ctypes.c_long(number), *values)
    if result < 0:
        _fail()
    return result


def _fail() -> None:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number))


def make(kind: str, options: Sequence[tuple[str, str | None]]) -> int:
    """A new detached mount, read-only and without set-id bits and devices -> its descriptor.

    An option's value None makes it a flag. Raises OSError, with the kernel's own words where it has some.
    """
    with _closing(_call(_FSOPEN, kind.encode(), _CLOSE_ON_EXEC)) as context:
        try:
            for name, value in [*options, ("ro", None)]:
                if value is None:
                    _call(_FSCONFIG, context, _SET_FLAG, name.encode(), None, 0)
                else:
                    _call(_FSCONFIG, context, _SET_STRING, name.encode(), value.encode(), 0)
            _call(_FSCONFIG, context, _CREATE, None, None, 0)
            return _call(_FSMOUNT, context, _CLOSE_ON_EXEC, _READ_ONLY | _NO_SUID | _NO_DEVICES)
        except OSError as exc:
            raise OSError(exc.errno, "; ".join([str(exc.strerror), *_said(context)])) from exc


def clone(path: str) -> int:
    """A detached second view of the mount at `path` -> its descriptor. Raises OSError."""
    return _call(_OPEN_TREE, _AT_FDCWD, path.encode(), _CLONE_TREE | os.O_CLOEXEC)


def attach(mount: int, target: int) -> None:
    """Puts a detached mount onto a directory (a descriptor of it). Raises OSError."""
    _call(_MOVE_MOUNT, mount, b"", target, b"", _FROM_EMPTY_PATH | _TO_EMPTY_PATH)


def unmount(target: str) -> None:
    """Raises OSError (EBUSY: in use; EINVAL: nothing is mounted there)."""
    _unmount(target, _NO_FOLLOW)


def detach(target: str) -> None:
    """Takes the mount out of the tree at once; it ends when its last user does. Raises OSError."""
    _unmount(target, _NO_FOLLOW | _DETACH)


def _unmount(target: str, flags: int) -> None:
    if _libc().umount2(target.encode(), flags):
        _fail()


def _said(context: int) -> Iterator[str]:
    """What the kernel logged about this attempt: lines like `e erofs: ...`."""
    with suppress(OSError):
        while line := os.read(context, 4096):
            yield line.decode(errors="replace").strip()


@contextmanager
def _closing(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        os.close(fd)
