"""A directory as origin: NFS, a host path, tests. Keys are paths below it.

A file's ETag is made of inode, size and times, so it does not determine bytes for ever (`strong` is False). Symbolic links
are not followed: one could lead out of the directory.
"""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Iterator, Sequence

from forebay_cache.contract.config import DirectorySource
from forebay_cache.model.errors import (
    OriginBadAnswer,
    OriginChanged,
    OriginDenied,
    OriginError,
    OriginMissing,
    OriginUnavailable,
)
from forebay_cache.origin.base import Body, Match, ObjectHead, OriginObject

BUFFER = 1 << 20
PAGE = 1000
PREFIXES = 1000
_ERRORS: dict[type[OSError], type[OriginError]] = {
    FileNotFoundError: OriginMissing,
    NotADirectoryError: OriginMissing,
    IsADirectoryError: OriginMissing,
    PermissionError: OriginDenied,
}


class FolderOrigin:
    """Implements Origin. Blocking calls run in the default executor."""

    strong = False

    def __init__(self, source: DirectorySource) -> None:
        self._root = os.fsencode(os.path.abspath(source.path))
        self.identity = f"directory {source.identity or source.path}"

    def __repr__(self) -> str:
        return f"<FolderOrigin {self.identity}>"

    async def head(self, key: bytes, match: Match = Match()) -> ObjectHead:
        fd, head = await asyncio.to_thread(self._open, key, match)
        os.close(fd)
        return head

    async def read(self, key: bytes, start: int, stop: int, match: Match = Match()) -> Body:
        fd, head = await asyncio.to_thread(self._open, key, match)
        return _FileBody(fd, head, start, stop)

    async def prefixes(self, prefix: bytes, delimiter: bytes = b"/") -> list[bytes]:
        if delimiter != b"/":
            raise OriginUnavailable(f"{self.identity}: a directory can only be split at '/'")
        return list(await asyncio.to_thread(self._prefixes, prefix))

    async def list(self, prefix: bytes, start_after: bytes = b"") -> AsyncIterator[list[OriginObject]]:
        found = self._walk(b"", prefix, start_after)
        while page := await asyncio.to_thread(_take, found, PAGE):
            yield page

    async def aclose(self) -> None:
        """Nothing is held."""

    def _open(self, key: bytes, match: Match) -> tuple[int, ObjectHead]:
        """The file's descriptor, of exactly the bytes `match` means."""
        what = f"file {key.decode(errors='replace')!r} of {self.identity}"
        if not key or any(part in (b"", b".", b"..") for part in key.split(b"/")):
            raise OriginMissing(f"{what}: not a path below the directory")
        try:
            fd = self._descend(key.split(b"/"))
        except OSError as exc:
            raise _ERRORS.get(type(exc), OriginUnavailable)(f"{what}: {exc.strerror}") from exc
        found = _object(key, os.fstat(fd))
        if (match.etag and found.etag != match.etag) or (match.size is not None and found.size != match.size):
            os.close(fd)
            raise OriginChanged(f"{what}: it was changed ({found.size} bytes, ETag {found.etag})")
        return fd, ObjectHead(found)

    def _descend(self, parts: Sequence[bytes]) -> int:
        """Opens step by step, never through a symbolic link."""
        fd = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for position, part in enumerate(parts):
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
            flags |= os.O_DIRECTORY if position < len(parts) - 1 else 0
            try:
                deeper = os.open(part, flags, dir_fd=fd)
            finally:
                os.close(fd)
            fd = deeper
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise FileNotFoundError(0, "not a regular file")
        return fd

    def _prefixes(self, prefix: bytes) -> Sequence[bytes]:
        folder, _, start = prefix.rpartition(b"/")
        base = folder + b"/" if folder else b""
        names = [name for name, is_folder in self._entries(base) if is_folder and name.startswith(start)]
        return [base + name + b"/" for name in names[:PREFIXES]]

    def _walk(self, base: bytes, prefix: bytes, start_after: bytes) -> Iterator[OriginObject]:
        """Files below `base` in byte order of keys: a folder sorts as its name with a slash, not as its name."""
        entries = [(name + b"/" if is_folder else name, is_folder) for name, is_folder in self._entries(base)]
        for name, is_folder in sorted(entries):
            key = base + name
            if not (key.startswith(prefix) or (is_folder and prefix.startswith(key))):
                continue
            if is_folder:
                if key > start_after or start_after.startswith(key):
                    yield from self._walk(key, prefix, start_after)
            elif key > start_after and (found := self._stat(key)):
                yield found

    def _entries(self, base: bytes) -> Sequence[tuple[bytes, bool]]:
        """Names of one folder, sorted, and whether each is a folder. One that vanished is empty."""
        path = os.path.join(self._root, base)
        try:
            with os.scandir(path) as scan:
                return sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in scan)
        except (FileNotFoundError, NotADirectoryError) as exc:
            if base:
                return []
            raise OriginMissing(f"{self.identity}: no such directory; does every member see it?") from exc
        except OSError as exc:
            raise _ERRORS.get(type(exc), OriginUnavailable)(f"{self.identity}: {exc.strerror}") from exc

    def _stat(self, key: bytes) -> OriginObject | None:
        try:
            info = os.stat(os.path.join(self._root, key), follow_symlinks=False)
        except OSError:
            return None  # it went while we listed
        return _object(key, info) if stat.S_ISREG(info.st_mode) else None


class _FileBody:
    """Implements Body over a descriptor of its own; a file cut short meanwhile is a bad answer, never zeros."""

    def __init__(self, fd: int, head: ObjectHead, start: int, stop: int) -> None:
        self.head = head
        self._fd = fd
        self._start = start
        self._stop = stop

    async def __aiter__(self) -> AsyncIterator[memoryview]:
        at = self._start
        while at < self._stop:
            data = await asyncio.to_thread(os.pread, self._fd, min(BUFFER, self._stop - at), at)
            if not data:
                raise OriginBadAnswer(f"file {self.head.object.key.decode(errors='replace')!r} ended at {at}")
            at += len(data)
            yield memoryview(data)
        if _object(self.head.object.key, os.fstat(self._fd)).etag != self.head.object.etag:
            raise OriginChanged(f"file {self.head.object.key.decode(errors='replace')!r} was changed while it was read")

    async def aclose(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def _object(key: bytes, info: os.stat_result) -> OriginObject:
    etag = f"{info.st_ino:x}-{info.st_size:x}-{info.st_mtime_ns:x}-{info.st_ctime_ns:x}"
    return OriginObject(key, info.st_size, info.st_mtime_ns // 1_000_000, etag)


def _take(found: Iterator[OriginObject], count: int) -> list[OriginObject]:
    return [item for _, item in zip(range(count), found, strict=False)]
