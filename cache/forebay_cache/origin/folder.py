"""A directory as origin: NFS, a host path, tests. Keys are paths below it.

A file's ETag is made of inode, size and times, so it does not determine bytes for ever (`strong` is False). Symbolic links
are neither listed nor followed: one could lead out of the directory.
"""

import asyncio
import contextlib
import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from forebay_cache.contract.config import DirectorySource
from forebay_cache.model.errors import (
    BadInput,
    OriginBadAnswer,
    OriginChanged,
    OriginDenied,
    OriginError,
    OriginMissing,
    OriginUnavailable,
)
from forebay_cache.origin.base import Body, Match, ObjectHead, OriginObject
from forebay_cache.origin.folderwalk import children, descend, object_of, take, walk
from forebay_cache.origin.limits import OriginLimits

T = TypeVar("T")
BUFFER = 1 << 20
PAGE = 1000
PREFIXES = 1000
THREADS = 16
_ERRORS: dict[type[OSError], type[OriginError]] = {
    FileNotFoundError: OriginMissing,
    NotADirectoryError: OriginMissing,
    IsADirectoryError: OriginMissing,
    PermissionError: OriginDenied,
}
_Opened = tuple[int, ObjectHead]
_Read = Callable[[int, int, int, bytes], Awaitable[bytes]]
"""(descriptor, offset, length, key) -> bytes"""


class FolderOrigin:
    """Implements Origin. Blocking calls run in threads of its own, so that a hung file system stops nobody else."""

    strong = False
    held = None

    def __init__(self, source: DirectorySource, limits: OriginLimits | None = None) -> None:
        self._root = os.fsencode(os.path.abspath(source.path))
        self._limits = limits or OriginLimits()
        self._threads = ThreadPoolExecutor(THREADS, "folder-origin")
        self.identity = f"directory {source.identity or os.path.abspath(source.path)}"

    def __repr__(self) -> str:
        return f"<FolderOrigin {self.identity}>"

    async def head(self, key: bytes, match: Match = Match()) -> ObjectHead:
        fd, head = await self._opened(key, match)
        os.close(fd)
        return head

    async def read(self, key: bytes, start: int, stop: int, match: Match = Match()) -> Body:
        fd, head = await self._opened(key, match)
        if stop > head.object.size:
            os.close(fd)
            raise OriginChanged(f"{self._what(key)}: {head.object.size} bytes, but bytes up to {stop} were asked for")
        return _FileBody(fd, head, (start, stop), self._read)

    async def prefixes(self, prefix: bytes, delimiter: bytes = b"/") -> list[bytes]:
        if delimiter != b"/":
            raise BadInput(f"{self.identity}: a directory can only be split at '/'")
        return [*await self._listing(self._prefixes, prefix)]

    async def list(self, prefix: bytes, start_after: bytes = b"") -> AsyncIterator[list[OriginObject]]:
        found = walk(self._root, prefix, start_after)
        try:
            while page := await self._listing(take, found, PAGE):
                yield page
        finally:
            with contextlib.suppress(
                ValueError
            ):  # a thread is still in it: it drops, and so closes, it when it is done
                found.close()

    async def aclose(self) -> None:
        self._threads.shutdown(wait=False)

    async def _opened(self, key: bytes, match: Match) -> _Opened:
        opening = asyncio.get_running_loop().run_in_executor(self._threads, self._open, key, match)
        try:
            return await self._timed(asyncio.shield(opening), self._limits.first_byte_s, self._what(key))
        except BaseException:
            opening.add_done_callback(_close_late)
            raise

    async def _read(self, fd: int, at: int, length: int, key: bytes) -> bytes:
        reading = asyncio.get_running_loop().run_in_executor(self._threads, os.pread, fd, length, at)
        return await self._timed(reading, self._limits.idle_s, self._what(key))

    async def _listing(self, call: Callable[..., T], *arguments: object) -> T:
        """A whole folder is read and sorted for its first page, so it gets the longest deadline."""
        listing = asyncio.get_running_loop().run_in_executor(self._threads, call, *arguments)
        return await self._timed(listing, self._limits.total_s, self.identity)

    async def _timed(self, work: asyncio.Future[T], limit_s: float, what: str) -> T:
        try:
            async with asyncio.timeout(limit_s):
                return await work
        except TimeoutError as exc:
            raise OriginUnavailable(f"{what}: no answer within {limit_s:g} s; does its file system hang?") from exc
        except OSError as exc:
            raise _ERRORS.get(type(exc), OriginUnavailable)(f"{what}: {exc.strerror}") from exc

    def _open(self, key: bytes, match: Match) -> _Opened:
        """The file's descriptor, of exactly the bytes `match` means."""
        what = self._what(key)
        if any(part in (b"", b".", b"..") for part in key.split(b"/")) or b"\0" in key:
            raise OriginMissing(f"{what}: not a path below the directory")
        fd = descend(self._root, key.split(b"/"))
        info = os.fstat(fd)
        found = object_of(key, info)
        wrong = (match.etag and found.etag != match.etag) or (match.size is not None and found.size != match.size)
        if wrong or not stat.S_ISREG(info.st_mode):
            os.close(fd)
            raise OriginChanged(f"{what}: it was changed") if wrong else OriginMissing(f"{what}: not a regular file")
        return fd, ObjectHead(found)

    def _prefixes(self, prefix: bytes) -> Sequence[bytes]:
        folder, _, start = prefix.rpartition(b"/")
        base = folder + b"/" if folder else b""
        if base and any(part in (b"", b".", b"..") for part in folder.split(b"/")):
            return []
        names = sorted(name for name in children(self._root, base) if name.endswith(b"/") and name.startswith(start))
        return [base + name for name in names[:PREFIXES]]

    def _what(self, key: bytes) -> str:
        return f"file {key.decode(errors='backslashreplace')!r} of {self.identity}"


class _FileBody:
    """Implements Body over a descriptor of its own; a file cut short meanwhile is a bad answer, never zeros."""

    def __init__(self, fd: int, head: ObjectHead, wanted: tuple[int, int], read: _Read) -> None:
        self.head = head
        self._fd = fd
        self._wanted = wanted
        self._read = read

    async def __aiter__(self) -> AsyncIterator[memoryview]:
        key = self.head.object.key
        at, stop = self._wanted
        while at < stop:
            data = await self._read(self._fd, at, min(BUFFER, stop - at), key)
            if not data:
                raise OriginBadAnswer(f"file {key.decode(errors='backslashreplace')!r} ended at {at}")
            at += len(data)
            if at == stop and object_of(key, os.fstat(self._fd)).etag != self.head.object.etag:
                # before the last bytes are given: whoever has them all may rely on them
                raise OriginChanged(f"file {key.decode(errors='backslashreplace')!r} was changed while it was read")
            yield memoryview(data)

    async def aclose(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def _close_late(opening: "asyncio.Future[_Opened]") -> None:
    """The reader gave up while the file was being opened."""
    if not opening.cancelled() and opening.exception() is None:
        os.close(opening.result()[0])
