"""Chunks in RAM: a hot tier, and the store of tests. Anonymous files, so that leases are descriptors as on disk.

The same account, policies and leases as on disk; no checksums, because nothing outlives the process.
"""

import os
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing

from forebay_cache.model.errors import StoreError, StoreFull
from forebay_cache.model.ids import BLOCK_SIZE, ChunkId, MemberId, SegmentId
from forebay_cache.model.ranges import covered
from forebay_cache.store.base import Payer, Problem, Scrubbed, StoreStats, Usage
from forebay_cache.store.edge import store_error
from forebay_cache.store.handles import Handle, HandleLease, Handles
from forebay_cache.store.layout import blocks_of, check_length
from forebay_cache.store.ledger import COMPLETE, FILLING, SWEPT, Ledger, Limits
from forebay_cache.store.policies.rules import Rules
from forebay_cache.store.presence import BITS_SIZE, has, mark, missing


class MemoryStore:
    """See `Store`. Thread-safe. Its limits' `open_files` does not apply: a descriptor is all that holds a chunk."""

    def __init__(self, limits: Limits, member: MemberId, now: Callable[[], float] = time.monotonic) -> None:
        self.member = member
        self._lock = threading.Lock()
        self._ledger = Ledger(limits, now)
        self._handles = Handles(limits.capacity_bytes // BLOCK_SIZE, self._lock, self._ledger.free)
        self._evicted_chunks = self._evicted_blocks = 0

    def lease(self, chunk: ChunkId, start: int, stop: int) -> HandleLease | None:
        with self._lock:
            handle = self._handles.get(chunk)
            if handle is None:
                return None
            if not 0 <= start < stop <= handle.length:
                raise ValueError(f"range [{start}, {stop}) is not within the {handle.length} bytes of chunk {chunk}")
            if handle.bits is not None and not has(handle.bits, *blocks_of(start, stop)):
                return None
            return self._handles.lease(handle)

    def verified(self, chunk: ChunkId, start: int, stop: int) -> bytes | None:
        lease = self.lease(chunk, start, stop)
        if lease is None:
            return None
        with closing(lease):
            return os.pread(lease.fd, stop - start, start)

    def admits(self, chunk: ChunkId, size: int, length: int) -> bool:
        with self._lock:
            return self._ledger.admits(chunk, size / length, length // BLOCK_SIZE)

    def touch(self, chunk: ChunkId, size: int) -> None:
        with self._lock:
            self._ledger.touch(chunk, size)

    def has_room(self, length: int) -> bool:
        with self._lock:
            return self._ledger.has_room(length // BLOCK_SIZE)

    def reserve(self, chunk: ChunkId, length: int) -> "MemoryFill":
        check_length(length)
        with self._lock:
            row = self._ledger.find(chunk)
            if row >= 0 and self._ledger.state(row) & FILLING:
                raise RuntimeError(f"chunk {chunk} is being filled already")
            handle = self._handles.get(chunk)
            if handle is not None and handle.length != length:
                raise ValueError(f"chunk {chunk} has {handle.length} bytes, not {length}")
            lacking = length // BLOCK_SIZE - (self._ledger.blocks(row) if row >= 0 else 0)
            self._make_room(lacking, self._ledger.group(chunk, row), keep=row)
            try:
                return self._fill(handle or self._begin(chunk, length))
            except OSError as exc:
                raise store_error(exc, f"opening memory for chunk {chunk}") from exc

    def evict(self, chunk: ChunkId) -> bool:
        with self._lock:
            row = self._ledger.find(chunk)
            if row < 0 or self._ledger.state(row) & FILLING:
                return False
            self._evict(row)
            return True

    def sweep(self, after: int) -> int:
        row, ledger = max(0, after), self._ledger
        with self._lock:
            if after < 0:
                self._free(ledger.shortage(0), None, -1)
            for at in ledger.expired(row):
                if not self._handles.is_leased(ledger.chunk(at)):
                    self._evict(at)
            return row + SWEPT if row + SWEPT < ledger.row_limit else -1

    def govern(self, rules: Mapping[str, Rules], payer: Callable[[SegmentId], Payer]) -> Collection[str]:
        with self._lock:
            return self._ledger.charging.govern(rules, payer)

    def recharge(self, after: int) -> int:
        with self._lock:
            return self._ledger.recharge(max(0, after))

    def charged(self) -> Mapping[str, Usage]:
        with self._lock:
            found = self._ledger.charging.usage()
        return {uid: Usage(chunks, blocks * BLOCK_SIZE) for uid, (chunks, blocks) in found.items()}

    def usage(self, segments: Collection[SegmentId]) -> Usage:
        with self._lock:
            chunks, blocks = self._ledger.usage(0, self._ledger.row_limit, frozenset(segments))
        return Usage(chunks, blocks * BLOCK_SIZE)

    def stats(self) -> StoreStats:
        with self._lock:
            ledger = self._ledger
            return StoreStats(
                capacity=ledger.capacity * BLOCK_SIZE,
                used=ledger.used * BLOCK_SIZE,
                chunks=ledger.completes,
                partial=len(ledger) - ledger.completes,
                evicted_chunks=self._evicted_chunks,
                evicted_bytes=self._evicted_blocks * BLOCK_SIZE,
                quarantined=0,
            )

    def scrub(self, after: int) -> Scrubbed | None:
        """Nothing decays here that a checksum would find: each chunk counts as read."""
        with self._lock:
            row = self._ledger.complete_after(after)
            if row < 0:
                return None
            chunk = self._ledger.chunk(row)
            return Scrubbed(row, chunk, self._ledger.blocks(row) * BLOCK_SIZE, good=True)

    def check(self, *, verify: bool = True) -> list[Problem]:
        """The account against itself; there are no checksums to verify."""
        del verify
        with self._lock:
            rows = list(self._ledger.rows())
            lost = [row for row in rows if self._handles.get(self._ledger.chunk(row)) is None]
            total = sum(map(self._ledger.blocks, rows)) + self._handles.pinned_blocks
            used = self._ledger.used
        problems = [Problem(str(self._ledger.chunk(row)), "in the index, but has no file") for row in lost]
        if total != used:
            problems.append(Problem("memory", f"{used} blocks are counted as used, chunks and leases use {total}"))
        return problems

    def close(self) -> None:
        """Forgets every chunk. Fills must be closed; leases stay readable."""
        with self._lock:
            for row in list(self._ledger.rows()):
                self._evict(row)

    def _begin(self, chunk: ChunkId, length: int) -> Handle:
        handle = _new_handle(chunk, length)
        self._handles.add(handle)
        self._ledger.add(chunk, 0, 0, 0)
        return handle

    def _fill(self, handle: Handle) -> "MemoryFill":
        fill = MemoryFill(self._lock, self._ledger, self._handles, handle)
        row = self._ledger.find(handle.chunk)
        self._ledger.set_state(row, self._ledger.state(row) | FILLING)
        return fill

    def _make_room(self, blocks: int, asker: int, *, keep: int) -> None:
        ledger = self._ledger
        self._free(max(ledger.excess(blocks), ledger.shortage(blocks), ledger.owed(asker, blocks)), asker, keep)
        if ledger.shortage(blocks):
            raise StoreFull(f"no room for {blocks * BLOCK_SIZE} bytes: the rest is being read or filled")

    def _free(self, goal: int, asker: int | None, keep: int) -> None:
        ledger, leased = self._ledger, self._handles.is_leased
        victims = ledger.victims(lambda row: row == keep or leased(ledger.chunk(row)), asker)
        while goal > 0 and (row := next(victims, -1)) >= 0:
            goal -= self._evict(row)

    def _evict(self, row: int) -> int:
        chunk = self._ledger.chunk(row)
        blocks = self._ledger.remove(row)
        self._handles.drop(chunk, blocks)
        self._evicted_chunks += 1
        self._evicted_blocks += blocks
        return blocks


class MemoryFill:
    """See `Fill`. Writes with the store's lock held: memory is fast, and marks must not race."""

    def __init__(self, lock: threading.Lock, ledger: Ledger, handles: Handles, handle: Handle) -> None:
        self._lock = lock
        self._ledger = ledger
        self._handles = handles
        self._handle = handle
        self._row = ledger.find(handle.chunk)
        # the lease's descriptor is read-only, so writing needs one of its own
        self._fd = os.open(f"/proc/self/fd/{handle.fd}", os.O_RDWR | os.O_CLOEXEC)
        self._promise = handle.length // BLOCK_SIZE - ledger.blocks(self._row)
        ledger.promised += self._promise

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data).cast("B")
        stop = offset + len(view)
        if offset % BLOCK_SIZE or stop % BLOCK_SIZE or not 0 <= offset <= stop <= self._handle.length:
            raise ValueError(f"[{offset}, {stop}) are not whole blocks of {self._handle.length} bytes")
        with self._lock:
            if self._fd < 0:
                raise StoreError(f"write to chunk {self._handle.chunk} after its fill was closed")
            if self._handle.bits is None or offset == stop:
                return
            first, last = blocks_of(offset, stop)
            fresh = sum(b - a for a, b in missing(self._handle.bits, first, last))
            try:
                os.pwrite(self._fd, view, offset)
            except OSError as exc:
                raise store_error(exc, f"writing chunk {self._handle.chunk}") from exc
            mark(self._handle.bits, first, last)
            self._ledger.resize(self._row, self._ledger.blocks(self._row) + fresh)
            self._ledger.promised -= fresh
            self._promise -= fresh

    def missing(self, start: int, stop: int) -> Sequence[tuple[int, int]]:
        with self._lock:
            bits = self._handle.bits
            runs = missing(bits, *blocks_of(start, min(stop, self._handle.length))) if bits is not None else []
        return [(a * BLOCK_SIZE, b * BLOCK_SIZE) for a, b in runs]

    def lease(self) -> HandleLease:
        with self._lock:
            return self._handles.lease(self._handle)

    def complete(self, gone: Sequence[tuple[int, int]] = ()) -> None:
        gaps = self.missing(0, self._handle.length)
        if not all(covered(gap, gone) for gap in gaps):
            raise StoreError(f"chunk {self._handle.chunk} is not complete: {len(gaps)} gaps")
        with self._lock:
            self._handle.bits, self._handle.partial = self._handle.bits if gaps else None, False
            self._ledger.set_state(self._row, self._ledger.state(self._row) | COMPLETE)

    def close(self) -> None:
        with self._lock:
            if self._fd < 0:
                return
            os.close(self._fd)
            self._fd = -1
            self._ledger.set_state(self._row, self._ledger.state(self._row) & ~FILLING)
            self._ledger.promised -= self._promise


def _new_handle(chunk: ChunkId, length: int) -> Handle:
    made = os.memfd_create(f"forebay-{chunk.number}", os.MFD_CLOEXEC)
    try:
        os.ftruncate(made, length)
        fd = os.open(f"/proc/self/fd/{made}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(made)
    return Handle(chunk, fd, length, bytearray(BITS_SIZE), partial=True)
