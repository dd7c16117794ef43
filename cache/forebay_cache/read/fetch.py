"""One GET into one chunk: origin -> whole blocks -> Fill. The only place where cold bytes pass through Python."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor
from contextlib import aclosing

from forebay_cache.model.errors import OriginChanged, OriginMissing, PartGone
from forebay_cache.model.ids import BLOCK_SIZE
from forebay_cache.origin.base import Body, Match, Origin
from forebay_cache.read.jobs import Job
from forebay_cache.store.base import Fill

FIRST_WRITE = 64 << 10
"""Bytes gathered before the first write: small, so that a waiting reader gets its first bytes early."""
NEXT_WRITE = 1 << 20
"""Bytes gathered before a later write: large, because each costs a hop to a thread."""


async def open_body(origin: Origin, job: Job) -> Body:
    """The answer to the job's GET, of exactly the bytes the commit knew. Raises PartGone when the origin changed."""
    part = job.part
    match = Match(etag=part.etag, version=part.version, size=part.size)
    try:
        return await origin.read(part.key, job.first, job.last, match)
    except (OriginMissing, OriginChanged) as exc:
        raise PartGone(
            f"object {part.key.decode(errors='replace')!r} of {origin.identity} is no longer the one this commit lists"
            f" ({exc}); sync the Dataset to see what is there now"
        ) from exc


async def copy_body(
    body: Body, job: Job, fill: Fill, pool: Executor, written: Callable[[], None]
) -> AsyncGenerator[int, None]:
    """Writes the body into the fill at the job's place, padded with zeros to the job's end; calls `written` after each
    write; yields the size of each buffer that came. On an error or cancellation the blocks already written stay, and are
    right."""
    loop = asyncio.get_running_loop()
    at, pending, limit = job.start, bytearray(), FIRST_WRITE

    async def put(data: bytes | bytearray) -> None:
        nonlocal at
        # shielded: a thread cannot be stopped, and the fill must outlive its write
        await _finish(loop.run_in_executor(pool, fill.write, at, data))
        at += len(data)
        written()

    async with aclosing(body):
        async for buffer in body:
            pending += buffer
            yield len(buffer)
            if len(pending) >= limit:
                whole = len(pending) // BLOCK_SIZE * BLOCK_SIZE
                head, pending = pending[:whole], pending[whole:]
                await put(head)
                limit = NEXT_WRITE
    if at < job.stop:
        await put(pending + bytes(job.stop - at - len(pending)))


async def write_zeros(job: Job, fill: Fill, pool: Executor) -> None:
    """What there is of a job that has no bytes to ask for."""
    await _finish(asyncio.get_running_loop().run_in_executor(pool, fill.write, job.start, bytes(job.stop - job.start)))


async def _finish(future: "asyncio.Future[None]") -> None:
    """Awaits a thread to its end, also when cancelled meanwhile."""
    try:
        await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        raise
