"""What every store can do. Conformance checks: tests/conformance/store."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from forebay_cache.model.ids import ChunkId, MemberId, SegmentId


class Lease(Protocol):
    """An open descriptor on a chunk's file. Bytes [start, stop) that were asked for stay readable at those offsets of `fd`
    until `close()`, also when the chunk is evicted meanwhile. `whole`: every byte of the chunk is there."""

    @property
    def fd(self) -> int: ...
    @property
    def whole(self) -> bool: ...
    def close(self) -> None: ...


class Fill(Protocol):
    """The right to add bytes to one chunk; one a chunk at a time, given by `Store.reserve`.

    `write` takes whole blocks: `offset` is a multiple of 4 KiB, and so is the length, unless it ends the chunk. When it
    returns, a lease on these bytes can be taken. Blocking (pwrite and checksums): call it in a thread.
    """

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Bytes, then their checksums, then the presence bits. Raises StoreFull, StoreFailed."""
        ...

    def missing(self, start: int, stop: int) -> Sequence[tuple[int, int]]:
        """Runs [start, stop) within the range that are still absent, block-aligned (the last one ends with the chunk)."""
        ...

    def lease(self) -> Lease:
        """A lease on the partial chunk, taken by who knows which bytes are present."""
        ...

    def complete(self) -> None:
        """Renames the partial chunk to complete. Call when nothing is missing; raises StoreError otherwise."""
        ...

    def close(self) -> None:
        """Gives the right back; what was written stays (as a partial chunk, or complete). Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class StoreStats:
    """Sizes in bytes of disk used (blocks, not lengths)."""

    capacity: int
    used: int
    chunks: int
    partial: int
    evicted_chunks: int
    evicted_bytes: int
    quarantined: int


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding of `check()`: the file, and what is wrong with it."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What some segments use: chunks, complete or partial, and bytes of disk."""

    chunks: int
    bytes: int


class Store(Protocol):
    @property
    def member(self) -> MemberId: ...

    def lease(self, chunk: ChunkId, start: int, stop: int) -> Lease | None:
        """A lease if all of [start, stop) is here, verified if this boot has not seen it yet; else None. Fast; never waits
        for anyone. Raises ChunkCorrupt (the chunk is quarantined; read it as absent)."""
        ...

    def reserve(self, chunk: ChunkId, length: int) -> Fill:
        """The right to fill `chunk` of `length` bytes, evicting by policy where room is needed. Not while another Fill of
        that chunk is open (RuntimeError: single flight is the caller's duty). Raises StoreFull, StoreFailed."""
        ...

    def has_room(self, length: int) -> bool:
        """Whether `length` more bytes fit below the high watermark without evicting anything."""
        ...

    def touch(self, chunk: ChunkId) -> None:
        """Counts an access for the eviction policy."""
        ...

    def evict(self, chunk: ChunkId) -> bool: ...
    def stats(self) -> StoreStats: ...
    def usage(self, segments: Collection[SegmentId]) -> Usage:
        """What is here of `segments`. Some 0.1 us a chunk of the whole store: for reports, not for reads."""
        ...

    def check(self, *, verify: bool = True) -> list[Problem]:
        """Audits disk against index, presence and (if `verify`) every checksum. [] is a clean store. Blocking."""
        ...

    def close(self) -> None: ...
