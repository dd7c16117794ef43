"""Pure: which GETs bring which bytes of a chunk."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from forebay_cache.catalog.base import Part, Parts
from forebay_cache.model.ids import BLOCK_SIZE, CHUNK_SIZE, ChunkId, SegmentId, chunk_length, round_up


@dataclass(frozen=True, slots=True)
class Job:
    """One ranged GET: bytes [first, last) of `part`'s object at `origin` (an identity), which belong at `start` of a chunk
    of `segment`. `stop` includes the zeros behind the part: to whole blocks, and to the chunk's end where the next part did
    not fit. With first = last there is nothing to ask for: all of it is zeros."""

    segment: SegmentId
    origin: str
    part: Part
    first: int
    last: int
    start: int
    stop: int


def jobs(parts: Parts, chunk: ChunkId, start: int, stop: int) -> Sequence[Job]:
    """The GETs for bytes [start, stop) of `chunk`, in order. A part that lies in the chunk is fetched whole; of a larger
    one, all that lies in the chunk: one request a slice, however small the read."""
    base = chunk.number * CHUNK_SIZE
    end = base + chunk_length(parts.size, chunk.number)
    return [_job(parts, part, base, end) for part in parts.within(base + start, base + stop) if part.size]


def chunk_of(job: Job) -> ChunkId:
    return ChunkId(job.segment, (job.part.offset + job.first) // CHUNK_SIZE)


def narrow(job: Job, start: int, stop: int) -> Job:
    """The part of `job` that bytes [start, stop) of the chunk need, in whole blocks."""
    low = max(job.start, start // BLOCK_SIZE * BLOCK_SIZE)
    high = min(job.stop, round_up(stop, BLOCK_SIZE))
    first = min(job.last, job.first + low - job.start)
    return replace(job, first=first, last=min(job.last, first + high - low), start=low, stop=high)


def _job(parts: Parts, part: Part, base: int, end: int) -> Job:
    low, high = max(part.offset, base), min(part.offset + part.size, end)
    first, last = low - part.offset, high - part.offset
    behind = parts.part(part.index + 1).offset if part.index + 1 < len(parts) else parts.size
    return Job(parts.segment, parts.origin, part, first, last, low - base, min(behind, end) - base)
