"""One GET into one chunk: origin -> whole blocks -> Fill. The only place where cold bytes pass through Python."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from forebay_cache.model.errors import OriginChanged, OriginMissing, PartGone
from forebay_cache.model.ids import BLOCK_SIZE
from forebay_cache.origin.base import Body, Match, Origin
from forebay_cache.read.jobs import Job
from forebay_cache.read.writes import SMALL, Writer
from forebay_cache.store.base import Fill

FIRST_WRITE = 64 << 10
"""Bytes gathered before the first write of a large body: few, so that a waiting reader gets its first bytes early."""
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
    body: Body, job: Job, fill: Fill, writer: Writer, written: Callable[[], None]
) -> AsyncGenerator[int, None]:
    """Writes the body into the fill at the job's place, padded with zeros to the job's end; calls `written` after each
    write; yields the size of each buffer that came. On an error or cancellation the blocks already written stay, and are
    right."""
    at, pending = job.start, bytearray()
    limit = SMALL if job.stop - job.start <= SMALL else FIRST_WRITE
    async with aclosing(body):
        async for buffer in body:
            pending += buffer
            yield len(buffer)
            if len(pending) >= limit:
                whole = len(pending) // BLOCK_SIZE * BLOCK_SIZE
                head, pending = pending[:whole], pending[whole:]
                await writer.write(fill, at, head)
                at += whole
                written()
                limit = NEXT_WRITE
    if at < job.stop:
        pending.extend(bytes(job.stop - at - len(pending)))
        await writer.write(fill, at, pending)
        written()
