"""Files below a directory in byte order of their keys, which is not the order of folders. Blocking; never leaves the directory.

Memory is bounded by the names in the folders on the way to the current file, not by the tree.
"""

import errno
import os
import stat
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

from forebay_cache.model.errors import OriginDenied, OriginMissing
from forebay_cache.origin.base import OriginObject


@dataclass(frozen=True, slots=True)
class Level:
    """One folder under way: its descriptor, its key, and the names still to come (a folder's ends with a slash)."""

    fd: int
    base: bytes
    names: Iterator[bytes]


def walk(root: bytes, prefix: bytes, start_after: bytes) -> Generator[OriginObject, None, None]:
    """What vanishes meanwhile is left out. Closing the iterator, or dropping it, closes its descriptors."""
    levels: list[Level] = []
    try:
        levels.append(_level(_root(root), b"", prefix, start_after))
        while levels:
            level = levels[-1]
            name = next(level.names, None)
            if name is None:
                os.close(levels.pop().fd)
            elif name.endswith(b"/"):
                _enter(levels, name, prefix, start_after)
            elif found := _file(level, name):
                yield found
    finally:
        for level in levels:
            os.close(level.fd)


def children(root: bytes, base: bytes) -> Sequence[bytes]:
    """Names in one folder, unsorted; a folder's ends with a slash. None where it is not there."""
    try:
        fd = descend(root, [part for part in base.split(b"/") if part])
    except (FileNotFoundError, NotADirectoryError) as exc:
        if base:
            return []
        raise _no_root(root) from exc
    try:
        return list(_names(fd)) if stat.S_ISDIR(os.fstat(fd).st_mode) else []
    finally:
        os.close(fd)


def descend(root: bytes, parts: Sequence[bytes]) -> int:
    """A descriptor of what lies there, opened step by step, never through a symbolic link, never waiting for a FIFO."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in parts:
        try:
            deeper = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=fd)
        except OSError as exc:
            if exc.errno == errno.ELOOP:
                raise FileNotFoundError(exc.errno, "a symbolic link, which is not followed") from exc
            raise
        finally:
            os.close(fd)
        fd = deeper
    return fd


def object_of(key: bytes, info: os.stat_result) -> OriginObject:
    etag = f"{info.st_ino:x}-{info.st_size:x}-{info.st_mtime_ns:x}-{info.st_ctime_ns:x}"
    return OriginObject(key, info.st_size, info.st_mtime_ns // 1_000_000, etag)


def take(found: Iterator[OriginObject], count: int) -> list[OriginObject]:
    return [item for _, item in zip(range(count), found, strict=False)]


def _enter(levels: list[Level], name: bytes, prefix: bytes, start_after: bytes) -> None:
    above = levels[-1]
    try:
        fd = os.open(name[:-1], os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above.fd)
    except (FileNotFoundError, NotADirectoryError):
        return
    except PermissionError as exc:
        # leaving it out would look as if its files were deleted
        raise OriginDenied(f"folder {(above.base + name).decode(errors='backslashreplace')!r}: {exc.strerror}") from exc
    levels.append(_level(fd, above.base + name, prefix, start_after))


def _level(fd: int, base: bytes, prefix: bytes, start_after: bytes) -> Level:
    """Closes `fd` where the folder cannot be read."""
    try:
        names = sorted(name for name in _names(fd) if _wanted(base + name, prefix, start_after))
    except BaseException:
        os.close(fd)
        raise
    return Level(fd, base, iter(names))


def _wanted(key: bytes, prefix: bytes, start_after: bytes) -> bool:
    if not key.endswith(b"/"):
        return key.startswith(prefix) and key > start_after
    related = key.startswith(prefix) or prefix.startswith(key)
    return related and (key > start_after or start_after.startswith(key))


def _names(fd: int) -> Iterator[bytes]:
    with os.scandir(fd) as scan:
        for entry in scan:
            name = os.fsencode(entry.name)
            yield name + b"/" if entry.is_dir(follow_symlinks=False) else name


def _file(level: Level, name: bytes) -> OriginObject | None:
    try:
        info = os.stat(name, dir_fd=level.fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return object_of(level.base + name, info) if stat.S_ISREG(info.st_mode) else None


def _root(root: bytes) -> int:
    try:
        return descend(root, [])
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise _no_root(root) from exc


def _no_root(root: bytes) -> OriginMissing:
    return OriginMissing(f"directory {os.fsdecode(root)}: there is none; does every member see it?")
