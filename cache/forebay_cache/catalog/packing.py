"""Pure: which segment each new object goes into, and where.

A large object is a segment of its own. Smaller ones are packed in key order, each at a block's start and never across two
chunks. A segment's id is known only when it is full, so rows wait in order until theirs is.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from forebay_cache.catalog.base import Entry
from forebay_cache.catalog.parts import Draft
from forebay_cache.model.ids import BLOCK_SIZE, CHUNK_SIZE, PACKED_SEGMENT_LIMIT, Extent, SegmentId, round_up
from forebay_cache.origin.base import OriginObject

PENDING_LIMIT = 1 << 17
"""Rows that wait for a segment at most; then every open segment is closed."""
NOWHERE = SegmentId(bytes(32))
"""Segment of an empty file's extent: it has no bytes."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where objects come from: the origin's identity, and the salt of new segments."""

    origin: str
    salt: bytes


@dataclass(slots=True)
class _Segment:
    """A segment being packed; `id` once it is full."""

    draft: Draft
    id: SegmentId | None = None


Put = Callable[[SegmentId, bytes], None]
"""Keeps a parts table."""
Emit = Callable[[Entry], None]
"""Takes the entries, in the order in which rows were given."""


class Packer:
    """Takes objects and unchanged entries in order of path, and emits entries in the same order.

    `sizes`: bytes of each segment it made, so far.
    """

    def __init__(self, put: Put, emit: Emit) -> None:
        self.sizes: dict[SegmentId, int] = {}
        self._put = put
        self._emit = emit
        self._open: dict[Place, _Segment] = {}
        self._pending: deque[tuple[bytes, OriginObject | Entry, _Segment | None, int]] = deque()

    def keep(self, entry: Entry) -> None:
        """An unchanged file keeps its extent."""
        if self._pending:
            self._wait(entry.key, entry, None, 0)
        else:
            self._emit(entry)

    def add(self, path: bytes, found: OriginObject, place: Place) -> None:
        if not found.size:
            self.keep(Entry(path, 0, found.mtime_ms, found.etag, Extent(NOWHERE, 0, 0)))
        elif found.size > CHUNK_SIZE:
            segment = _Segment(Draft(place.origin, place.salt))
            segment.draft.add(0, found.size, found.key, found.etag, found.version)
            self._finish(segment)
            self._wait(path, found, segment, 0)
        else:
            self._share(path, found, place)

    def close(self) -> None:
        """Closes every open segment; nothing waits any more."""
        for segment in self._open.values():
            self._finish(segment)
        self._open.clear()
        self._flush()

    def _share(self, path: bytes, found: OriginObject, place: Place) -> None:
        segment = self._open.get(place)
        at = fit(segment.draft.size, found.size) if segment else -1
        if segment is None or at < 0:
            if segment:
                self._finish(segment)
            segment = self._open[place] = _Segment(Draft(place.origin, place.salt))
            at = 0
        segment.draft.add(at, found.size, found.key, found.etag, found.version)
        self._wait(path, found, segment, at)

    def _finish(self, segment: _Segment) -> None:
        segment.id, table = segment.draft.encode()
        self.sizes[segment.id] = segment.draft.size
        segment.draft = _EMPTY  # the table has its rows
        self._put(segment.id, table)

    def _wait(self, path: bytes, row: OriginObject | Entry, segment: _Segment | None, at: int) -> None:
        self._pending.append((path, row, segment, at))
        if len(self._pending) > PENDING_LIMIT:
            self.close()
        first = self._pending[0][2] if self._pending else None
        if first and first.id:
            self._flush()

    def _flush(self) -> None:
        """Emits the rows at the head of the queue whose segment is known."""
        pending = self._pending
        while pending:
            path, row, segment, at = pending[0]
            if isinstance(row, Entry):
                self._emit(row)
            elif segment and segment.id:
                self._emit(Entry(path, row.size, row.mtime_ms, row.etag, Extent(segment.id, at, row.size)))
            else:
                return
            pending.popleft()


_EMPTY = Draft("", b"")


def fit(end: int, size: int) -> int:
    """Where an object of `size` bytes goes in a packed segment that ends at `end`; -1 if it no longer fits."""
    at = end
    if at // CHUNK_SIZE != (at + size - 1) // CHUNK_SIZE:
        at = round_up(at, CHUNK_SIZE)
    return at if round_up(at + size, BLOCK_SIZE) <= PACKED_SEGMENT_LIMIT else -1


def unchanged(old: Entry, new: OriginObject, *, strong: bool) -> bool:
    """Whether `new` has the bytes `old` has. Without a strong ETag the time must be the same as well; with one, an object
    that was written again with the same bytes is no news and keeps the time it had."""
    same = old.size == new.size and old.etag == new.etag and bool(new.etag)
    return same and (strong or old.mtime_ms == new.mtime_ms)
