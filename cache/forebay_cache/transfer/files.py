"""Catalog files under way between members: opening one to give it, and holding what comes against what is due."""

import asyncio
import os
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import asynccontextmanager

from forebay_cache.model.errors import ForebayError, MemberBadFrame, NotFound
from forebay_cache.transfer.base import FILE_LIMITS, Absent, FileBytes, FileName, FileSource, Other, Reason, Refused


@asynccontextmanager
async def opened(source: FileSource, name: FileName, pool: Executor | None) -> AsyncIterator[int]:
    """A descriptor, until the end. Raises what `open` does."""
    future = asyncio.get_running_loop().run_in_executor(pool, source.open, name)
    try:
        fd = await asyncio.shield(future)
    except asyncio.CancelledError:
        future.add_done_callback(_unused)  # a thread cannot be stopped
        raise
    try:
        yield fd
    finally:
        os.close(fd)


def _unused(future: "asyncio.Future[int]") -> None:
    if not future.cancelled() and not future.exception():
        os.close(future.result())


def size_of(fd: int, name: FileName) -> int:
    """Bytes of a file that may be given. Raises MemberBadFrame: nobody would take it."""
    size = os.fstat(fd).st_size
    if not 0 < size <= FILE_LIMITS[name.folder]:
        raise MemberBadFrame(f"{name.folder.name.lower()} file {name.id.hex()} has {size} bytes")
    return size


def refusal(exc: ForebayError) -> Other:
    """What to say where a file cannot be given."""
    return Absent(0) if isinstance(exc, NotFound) else Refused(0, Reason.FAILED, str(exc))


class FileTally:
    """What of one file has come. Pure."""

    def __init__(self) -> None:
        self._at = self._size = 0
        self.done = False

    def came(self, piece: FileBytes) -> None:
        """Raises MemberBadFrame for bytes that are not the next ones."""
        if piece.start != self._at or (self._at and piece.size != self._size):
            raise MemberBadFrame(f"bytes at {piece.start} of {piece.size}, where those at {self._at} of a file are due")
        self._at, self._size = piece.start + len(piece.data), piece.size
        self.done = self._at == self._size

    def ended(self, answer: Other) -> None:
        """Raises MemberBadFrame for an answer to what was not asked."""
        if answer.index:
            raise MemberBadFrame(f"an answer for span {answer.index}, where a file was asked for")
        self.done = True
