"""What serve and mount see of the read path."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from forebay_cache.catalog.base import Entry
from forebay_cache.model.errors import ForebayError
from forebay_cache.model.ids import Extent
from forebay_cache.model.ranges import Span
from forebay_cache.store.base import Lease


@dataclass(frozen=True, slots=True)
class Piece:
    """`length` bytes at `offset` of `fd`; valid until the iterator's next step or its `aclose`. `sums_at`: see Lease."""

    fd: int
    offset: int
    length: int
    sums_at: int = -1


@dataclass(frozen=True, slots=True)
class Lost:
    """Bytes [start, stop) of a chunk that could not be brought, and why."""

    start: int
    stop: int
    error: ForebayError


class Loader(Protocol):
    """Brings bytes into the store for nobody in particular."""

    def holds(self, span: Span) -> bool:
        """Whether all of the span is in the store. Microseconds. Raises StoreError."""
        ...

    async def load(self, wanted: Sequence[Span]) -> Sequence[Lost]:
        """Spans of one chunk, at least one. Raises StoreError, NotFound, CatalogCorrupt."""
        ...


class Reader(Protocol):
    def lease(self, span: Span) -> Lease | None:
        """The hit path: a lease when all of the span is in the local store. Synchronous, a few microseconds."""
        ...

    def pieces(self, extent: Extent) -> AsyncIterator[Piece]:
        """Bytes of `extent` in order as they become readable, the first ones while the fill still runs; `extent.length` in
        all. Close it (`contextlib.aclosing`): closing releases leases and leaves fills that nobody else waits for.
        Raises PartGone, OriginError, DeadlineExceeded; a retry makes sense where the error says so."""
        ...

    async def headers(self, entry: Entry) -> Mapping[str, str]:
        """Response headers of the object as the origin gave them; recorded, or asked once and remembered."""
        ...
