"""What every store can do. Conformance checks: tests/conformance/store."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from forebay_cache.model.ids import ChunkId, MemberId, SegmentId
from forebay_cache.store.policies.rules import Rules


class Lease(Protocol):
    """An open descriptor on a chunk's file. Bytes [start, stop) that were asked for stay readable at those offsets of `fd`
    until `close()`, also when the chunk is evicted meanwhile. `whole`: every byte of the chunk is there, and is right.
    `sums_at`: where in the file the checksum of block 0 is, then that of each (u32 little endian CRC32C); -1: it has none.

    The descriptor is read-only and shared with other leases: read at offsets (pread, sendfile), never seek, never change
    its flags. `close` is idempotent; it may be called from any thread."""

    @property
    def fd(self) -> int: ...
    @property
    def whole(self) -> bool: ...
    @property
    def sums_at(self) -> int: ...
    def close(self) -> None: ...


class Fill(Protocol):
    """The right to add bytes to one chunk; one a chunk at a time, given by `Store.reserve`.

    `write` takes whole blocks: offset and length are multiples of 4 KiB (so is a chunk's length: segments are padded). When
    it returns, a lease on these bytes can be taken. Blocking (pwrite and checksums): call it in a thread; writes of
    disjoint ranges may run side by side. The others but `complete` are quick.
    """

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Bytes, then their checksums, then the presence bits. Raises StoreFull, StoreFailed."""
        ...

    def missing(self, start: int, stop: int) -> Sequence[tuple[int, int]]:
        """Runs [start, stop) within the range that are still absent, in order, in whole blocks."""
        ...

    def lease(self) -> Lease:
        """A lease on the partial chunk, taken by who knows which bytes are present."""
        ...

    def complete(self, gone: Sequence[tuple[int, int]] = ()) -> None:
        """Makes the partial chunk complete. `gone`: runs of bytes that the origin no longer has; what is missing there stays
        missing, and no lease of the chunk is ever `whole`. A later fill may bring it all the same, and completes anew.
        Blocking. Idempotent. Raises StoreError while something else is missing."""
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
class Usage:
    """What some segments have here: chunks, complete or partial, and bytes of disk."""

    chunks: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Payer:
    """The Dataset, by UID, that a segment's chunks are charged to, and whether a pin holds them."""

    dataset: str
    pinned: bool = False


NOBODY = Payer("")


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding of `check()`: the file, and what is wrong with it."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """One chunk read back. `cursor`: where to go on. `size`: its bytes, 0 where they are not all `good`; then it is in
    quarantine."""

    cursor: int
    chunk: ChunkId
    size: int
    good: bool


class Store(Protocol):
    @property
    def member(self) -> MemberId: ...

    def lease(self, chunk: ChunkId, start: int, stop: int) -> Lease | None:
        """A lease if all of [start, stop) is here, verified if this boot has not seen it yet; else None. Microseconds; the
        first time after a boot, the blocks of the range are read and checked. A lease on a range of a complete chunk is
        `whole` once all of it has been verified: ask for [0, length) where that is wanted.

        Raises ChunkCorrupt (the chunk is quarantined; read it as absent), StoreFailed (no more descriptors, disk error),
        ValueError (a range outside of the chunk)."""
        ...

    def verified(self, chunk: ChunkId, start: int, stop: int) -> bytes | None:
        """Bytes [start, stop) if all of them are here, read and held against their checksums now, whatever was verified
        before: for who passes them on. None: not here. Blocking: call it in a thread. Raises what `lease` does."""
        ...

    def reserve(self, chunk: ChunkId, length: int) -> Fill:
        """The right to fill `chunk` of `length` bytes, evicting by policy where room is needed. Not while another Fill of
        that chunk is open (RuntimeError: single flight is the caller's duty). Blocking: call it in a thread. A chunk that
        is complete already gives a fill with nothing missing. What is being filled is not evicted.

        Raises StoreFull, StoreFailed, ValueError (not a chunk's length, or not the one this chunk has)."""
        ...

    def has_room(self, length: int) -> bool:
        """Whether `length` more bytes fit below the high watermark without evicting anything."""
        ...

    def admits(self, chunk: ChunkId, size: int, length: int) -> bool:
        """Whether a chunk of `length` bytes that misses `size` of them is to be filled, by the policy of its Dataset; if not,
        read past the store. It is counted: ask once for each read, with a `size` of 0 where nobody reads yet. Microseconds."""
        ...

    def touch(self, chunk: ChunkId, size: int) -> None:
        """Counts an access to `size` bytes for the eviction policy."""
        ...

    def evict(self, chunk: ChunkId) -> bool:
        """Deletes a chunk; its leases stay readable, and its bytes count as used until the last is closed. False: it is
        not here, or is being filled. Blocking."""
        ...

    def govern(self, rules: Mapping[str, Rules], payer: Callable[[SegmentId], Payer]) -> Collection[str]:
        """The rules of all Datasets, by UID, and whose each segment is, from now on. Call `recharge` until it is done, so that
        they hold for what is here as well. -> Datasets beyond what a store can tell apart: theirs count as nobody's."""
        ...

    def recharge(self, after: int) -> int:
        """Charges the next few hundred chunks after a cursor (-1: from the first) to whom they belong now. -> the cursor to go on
        with; -1 when all are done. Some 0.3 ms: call it in a thread."""
        ...

    def sweep(self, after: int) -> int:
        """Evicts, of the next few thousand chunks after a cursor (-1: from the first), those not read for their Dataset's
        TTL; and before the first whatever is more than the disk or the capacity holds. -> the cursor to go on with; -1 at the
        end. Blocking: call it in a thread. Raises StoreFailed."""
        ...

    def charged(self) -> Mapping[str, Usage]:
        """What each Dataset pays for, by UID. Microseconds."""
        ...

    def scrub(self, after: int) -> Scrubbed | None:
        """Reads the next complete chunk after a cursor (-1: the first) from the disk itself, whatever the page cache holds,
        and quarantines it if it does not match its checksums. None: there is no further one. Blocking: call it in a thread.
        Raises StoreFailed."""
        ...

    def stats(self) -> StoreStats: ...

    def usage(self, segments: Collection[SegmentId]) -> Usage:
        """What is cached of these segments. Looks at every chunk (about 0.5 us each): call it in a thread, every now and
        then."""
        ...

    def check(self, *, verify: bool = True) -> list[Problem]:
        """Audits disk against index, presence and (if `verify`) every checksum. [] is a clean store. Blocking."""
        ...

    def close(self) -> None: ...
