"""Pure: which segment each new object goes into, and where.

A large object is a segment of its own. Smaller ones are packed in key order, each at a block's start and never across two
chunks. A segment's id is known only when it is full, so rows wait in order until theirs is.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from forebay_cache.catalog import parts as tables
from forebay_cache.catalog.base import Entry, Part
from forebay_cache.model.ids import BLOCK_SIZE, CHUNK_SIZE, PACKED_SEGMENT_LIMIT, Extent, SegmentId, round_up
from forebay_cache.origin.base import OriginObject

PENDING_LIMIT = 200_000
"""Rows that wait for a segment at most; then every open segment is closed."""
NOWHERE = SegmentId(bytes(32))
"""Segment of an empty file's extent: it has no bytes."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One object of a sync: its path in the Dataset, what the origin said, and where it comes from."""

    path: bytes
    object: OriginObject
    origin: str
    salt: bytes


@dataclass(slots=True)
class _Segment:
    """A segment being packed; `id` once it is full."""

    origin: str
    salt: bytes
    parts: list[Part] = field(default_factory=list)
    size: int = 0
    id: SegmentId | None = None

    def place(self, size: int) -> int:
        """Where an object of `size` bytes goes; -1 if it no longer fits."""
        at = self.size
        if at // CHUNK_SIZE != (at + size - 1) // CHUNK_SIZE:
            at = round_up(at, CHUNK_SIZE)
        return at if round_up(at + size, BLOCK_SIZE) <= PACKED_SEGMENT_LIMIT else -1

    def add(self, found: OriginObject, at: int) -> None:
        self.parts.append(Part(len(self.parts), at, found.size, found.key, found.etag, found.version))
        self.size = round_up(at + found.size, BLOCK_SIZE)


Put = Callable[[SegmentId, bytes], None]
"""Keeps a parts table."""


class Packer:
    """Takes objects and unchanged entries in order of path, gives entries in the same order."""

    def __init__(self, put: Put) -> None:
        self._put = put
        self._open: dict[tuple[str, bytes], _Segment] = {}
        self._pending: deque[tuple[Listed | Entry, _Segment | None, int]] = deque()

    def keep(self, entry: Entry) -> Iterator[Entry]:
        """An unchanged file keeps its extent."""
        self._pending.append((entry, None, 0))
        return self._ready()

    def add(self, listed: Listed) -> Iterator[Entry]:
        size = listed.object.size
        if not size:
            found = listed.object
            return self.keep(Entry(listed.path, 0, found.mtime_ms, found.etag, Extent(NOWHERE, 0, 0)))
        segment = self._alone(listed) if size > CHUNK_SIZE else self._shared(listed)
        self._pending.append((listed, segment, segment.parts[-1].offset))
        if len(self._pending) > PENDING_LIMIT:
            return self.close()
        return self._ready()

    def close(self) -> Iterator[Entry]:
        """Closes every open segment -> the rows that waited."""
        for segment in self._open.values():
            self._finish(segment)
        self._open.clear()
        return self._ready()

    def _alone(self, listed: Listed) -> _Segment:
        segment = _Segment(listed.origin, listed.salt)
        segment.add(listed.object, 0)
        self._finish(segment)
        return segment

    def _shared(self, listed: Listed) -> _Segment:
        where = (listed.origin, listed.salt)
        segment = self._open.setdefault(where, _Segment(*where))
        at = segment.place(listed.object.size)
        if at < 0:
            self._finish(segment)
            segment = self._open[where] = _Segment(*where)
            at = 0
        segment.add(listed.object, at)
        return segment

    def _finish(self, segment: _Segment) -> None:
        segment.id, table = tables.encode(segment.origin, segment.salt, segment.parts)
        segment.parts = segment.parts[-1:]  # the table has them; a row only needs its own offset
        self._put(segment.id, table)

    def _ready(self) -> Iterator[Entry]:
        """Rows at the head of the queue whose segment is known."""
        while self._pending and (self._pending[0][1] is None or self._pending[0][1].id is not None):
            row, segment, offset = self._pending.popleft()
            if isinstance(row, Entry):
                yield row
            elif segment is not None and segment.id is not None:
                found = row.object
                extent = Extent(segment.id, offset, found.size)
                yield Entry(row.path, found.size, found.mtime_ms, found.etag, extent)


def unchanged(old: Entry, new: OriginObject, *, strong: bool) -> bool:
    """Whether `new` has the bytes `old` has. Without a strong ETag the time must be the same as well."""
    same = old.size == new.size and old.etag == new.etag and bool(new.etag)
    return same and (strong or old.mtime_ms == new.mtime_ms)
