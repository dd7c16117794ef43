"""Pure: which chunks a sequential reader will want next."""

from dataclasses import dataclass

from forebay_cache.model.ids import ChunkId, SegmentId

WINDOW_LIMIT = 8
"""Chunks fetched ahead of a sequential reader at most: 64 MiB, enough for 1 GB/s at 60 ms."""
STREAMS_LIMIT = 256
"""Segments remembered; the longest untouched one is forgotten."""


@dataclass(frozen=True, slots=True)
class Stream:
    """The last chunk a segment was read at, how far ahead to be, and the first chunk not yet asked for."""

    last: int
    window: int
    asked: int


class ReadAhead:
    """Recent reads by segment. Not thread-safe; owned by one reader."""

    def __init__(self) -> None:
        self._streams: dict[SegmentId, Stream] = {}

    def note(self, chunk: ChunkId, chunks: int) -> list[ChunkId]:
        """Notes a read at `chunk` of a segment of `chunks` chunks -> the chunks to fetch now. Two neighbours in order make
        a stream; its window doubles with each chunk up to the limit. A jump ends it."""
        stream = self._streams.pop(chunk.segment, None)
        if stream and stream.last == chunk.number:
            self._streams[chunk.segment] = stream
            return []
        following = stream is not None and chunk.number == stream.last + 1
        window = min(WINDOW_LIMIT, stream.window * 2) if stream and following else 1
        first = max(chunk.number + 1, stream.asked) if stream and following else chunk.number + 1
        stop = min(chunks, chunk.number + 1 + window) if following else first
        self._streams[chunk.segment] = Stream(chunk.number, window, max(first, stop))
        if len(self._streams) > STREAMS_LIMIT:
            del self._streams[next(iter(self._streams))]
        return [ChunkId(chunk.segment, number) for number in range(first, stop)]
