"""All byte arithmetic over chunks: one place, so that no reader does its own."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from forebay_cache.model.ids import CHUNK_SIZE, ChunkId, Extent


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes [start, stop) of one chunk; never empty."""

    chunk: ChunkId
    start: int
    stop: int

    @property
    def length(self) -> int:
        return self.stop - self.start


def slice_extent(extent: Extent, start: int, stop: int) -> Extent:
    """Bytes [start, stop) of a file, as an extent. Raises ValueError outside of the file."""
    if not 0 <= start <= stop <= extent.length:
        raise ValueError(f"range [{start}, {stop}) is not within {extent.length} bytes")
    return Extent(extent.segment, extent.offset + start, stop - start)


def covered(run: tuple[int, int], by: Iterable[tuple[int, int]]) -> bool:
    """Whether all of [start, stop) lies in one or several of `by`."""
    at, stop = run
    for low, high in sorted(by):
        if low <= at < high:
            at = high
    return at >= stop


def spans(extent: Extent) -> Iterator[Span]:
    """The chunks an extent touches and its bytes in each, in order."""
    at, end = extent.offset, extent.offset + extent.length
    while at < end:
        number, start = divmod(at, CHUNK_SIZE)
        stop = min(CHUNK_SIZE, start + end - at)
        yield Span(ChunkId(extent.segment, number), start, stop)
        at += stop - start
