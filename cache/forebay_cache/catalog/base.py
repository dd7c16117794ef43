"""Values the rest of the cache reads from the catalog. `files.CatalogFiles` finds them on disk."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from forebay_cache.model.ids import CommitId, Extent, SegmentId


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a commit. `etag` as the origin gave it, unquoted."""

    key: bytes
    size: int
    mtime_ms: int
    etag: str
    extent: Extent


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing. `next`: start_after of the next page, None on the last."""

    entries: Sequence[Entry]
    prefixes: Sequence[bytes]
    next: bytes | None


@dataclass(frozen=True, slots=True)
class Part:
    """One object's place in a segment: bytes [offset, offset + size); what follows up to the next 4 KiB is zeros."""

    index: int
    offset: int
    size: int
    key: bytes
    etag: str
    version: str | None


@dataclass(frozen=True, slots=True)
class Ancestor:
    """Where a part of a merged segment was before: the same bytes, as part `part` at `offset` of an older segment."""

    segment: SegmentId
    part: int
    offset: int


class Parts(Protocol):
    """The parts table of one segment. `size` is a multiple of 4 KiB; the bytes beyond a part's end are zeros."""

    @property
    def segment(self) -> SegmentId: ...
    @property
    def size(self) -> int: ...
    @property
    def origin(self) -> str:
        """Identity of the origin all parts come from."""
        ...

    def __len__(self) -> int: ...
    def part(self, index: int) -> Part: ...
    def at(self, offset: int) -> Part:
        """The part that holds the byte, or whose padding does."""
        ...

    def within(self, start: int, stop: int) -> Sequence[Part]:
        """Parts with any byte (or padding) in [start, stop) of the segment, in order."""
        ...


class Commit(Protocol):
    """An immutable version of a Dataset. Look-ups are a bisect in mmapped leaves (10 us) and never block on a network."""

    @property
    def id(self) -> CommitId: ...
    @property
    def file_count(self) -> int: ...
    @property
    def total_bytes(self) -> int: ...
    def find(self, key: bytes) -> Entry | None: ...
    def page(self, prefix: bytes, delimiter: bytes, start_after: bytes, limit: int) -> Page: ...
    def __iter__(self) -> Iterator[Entry]: ...
    def segments(self) -> Sequence[SegmentId]:
        """Every segment that a file of this commit lies in, sorted."""
        ...


@dataclass(frozen=True, slots=True)
class Placed:
    """A segment on a data device: its first byte at `offset` of the device."""

    segment: SegmentId
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Device:
    """One data device of a commit's image: `size` bytes; the first and last MiB are padding; `identity` is the block that
    stands at byte 0 (4 KiB)."""

    number: int
    size: int
    identity: bytes
    placed: Sequence[Placed]


class Catalog(Protocol):
    """Catalog files of this member. Raises NotFound for what is not here, CatalogCorrupt for what does not match its name."""

    def commit(self, commit: CommitId) -> Commit: ...
    def parts(self, segment: SegmentId) -> Parts:
        """Blocking where it is not `opened`: reads the table, and what lies beside it."""
        ...

    def opened(self, segment: SegmentId) -> Parts | None:
        """The parts table, if it is open already. Never blocks."""
        ...

    def ancestors(self, segment: SegmentId, part: int) -> Sequence[Ancestor]:
        """Where a part's bytes may be as well, the newest place first; () of a segment that was not merged. Never raises."""
        ...

    def image_path(self, commit: CommitId) -> str: ...
    def devices_path(self, commit: CommitId) -> str: ...
    def headers(self, segment: SegmentId, part: int) -> Mapping[str, str] | None:
        """Response headers recorded for a part; None if none were yet."""
        ...

    def record_headers(self, segment: SegmentId, part: int, headers: Mapping[str, str]) -> None: ...
