"""Bytes for the node socket that no descriptor stands for: filled, or copied from a partial chunk; within a deadline.

A hung origin must not hold up the others: after one expiry its misses fail at once until a probe succeeds.
"""

import asyncio
import errno
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import aclosing, asynccontextmanager, closing
from typing import cast

from forebay_cache.catalog.base import Catalog
from forebay_cache.model import errors
from forebay_cache.model.failfast import FailFast
from forebay_cache.model.ids import CHUNK_SIZE, Extent, SegmentId
from forebay_cache.model.ranges import Span
from forebay_cache.read.base import Piece, Reader
from forebay_cache.read.tables import Tables
from forebay_cache.store.base import Lease


class Misses:
    """`most` requests at once, each with a buffer of up to 1 MiB. `pool` runs reads that would block."""

    def __init__(self, reader: Reader, catalog: Catalog, pool: Executor, most: int, deadline_s: float) -> None:
        self._reader = reader
        self._tables = Tables(catalog, pool)
        self._pool = pool
        self._deadline_s = deadline_s
        self._slots = asyncio.Semaphore(most)
        self._now: Callable[[], float] = asyncio.get_running_loop().time
        self._gates: dict[str, FailFast] = {}

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """A place among those under way. Raises DeadlineExceeded when none is free in time."""
        try:
            async with asyncio.timeout(self._deadline_s):
                await self._slots.acquire()
        except TimeoutError as exc:
            raise errors.DeadlineExceeded(
                f"too many other reads are under way; none ended within {self._deadline_s:g} s"
            ) from exc
        try:
            yield
        finally:
            self._slots.release()

    async def copy(self, span: Span, lease: Lease) -> bytearray:
        """Bytes that are here; takes the lease over. Raises DeadlineExceeded, OSError."""
        data = bytearray(span.length)
        with closing(lease):
            try:
                async with asyncio.timeout(self._deadline_s):
                    await self._read(lease.fd, memoryview(data), span.start)
            except TimeoutError as exc:
                raise errors.DeadlineExceeded(f"chunk {span.chunk}: the disk did not answer in time") from exc
        return data

    async def fill(self, span: Span) -> bytearray:
        """Bytes that the reader brings. Raises ForebayError, OSError."""
        gate = await self._gate(span.chunk.segment)
        if not gate.admit():
            raise errors.DeadlineExceeded(f"chunk {span.chunk}: its origin does not answer; it is asked every second")
        try:
            async with asyncio.timeout(self._deadline_s):
                data = await self._filled(span)
        except (TimeoutError, errors.DeadlineExceeded) as exc:
            gate.expired()
            raise errors.DeadlineExceeded(
                f"chunk {span.chunk}: its origin did not answer within {self._deadline_s:g} s"
            ) from exc
        except asyncio.CancelledError:
            gate.gave_up()
            raise
        except Exception:
            gate.answered()
            raise
        gate.answered()
        return data

    async def _gate(self, segment: SegmentId) -> FailFast:
        """One for each origin. Raises NotFound for a segment that is not known here."""
        return self._gates.setdefault((await self._tables.of(segment)).origin, FailFast(self._now))

    async def _filled(self, span: Span) -> bytearray:
        extent = Extent(span.chunk.segment, span.chunk.number * CHUNK_SIZE + span.start, span.length)
        data, at = bytearray(span.length), 0
        pieces = cast("AsyncGenerator[Piece, None]", self._reader.pieces(extent))
        async with aclosing(pieces):
            async for piece in pieces:
                await self._read(piece.fd, memoryview(data)[at : at + piece.length], piece.offset)
                at += piece.length
        if at != span.length:
            raise errors.StoreFailed(f"chunk {span.chunk}: {at} of {span.length} bytes came")
        return data

    async def _read(self, fd: int, view: memoryview, offset: int) -> None:
        """What is in the page cache is copied here; the disk is waited for in a thread."""
        try:
            done = os.preadv(fd, [view], offset, os.RWF_NOWAIT)
        except OSError as exc:
            if exc.errno not in (errno.EAGAIN, errno.EOPNOTSUPP):
                raise
            done = 0
        if done < len(view):
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._pool, _read_whole, fd, view[done:], offset + done)


def _read_whole(fd: int, view: memoryview, offset: int) -> None:
    """Blocking. Raises OSError."""
    while view:
        count = os.preadv(fd, [view], offset)
        if not count:
            raise OSError(errno.EIO, "a chunk's file is too short")
        view, offset = view[count:], offset + count
