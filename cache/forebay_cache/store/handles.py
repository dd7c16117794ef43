"""Open descriptors of chunk files: one a chunk however many lease it, a bounded number of idle ones kept for the next.

An evicted chunk's blocks are free only when its last lease is closed. Hot: a lease on a complete chunk that is open takes
about a microsecond. Every method but `Lease.close` is called under the store's lock.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable

from forebay_cache.model.ids import ChunkId
from forebay_cache.store.presence import Bits

_LOOK = 8
"""Handles looked at for an idle one when there are too many."""


class Handle:
    """One open chunk file. `bits`: blocks that may be read (present, or verified by this boot); None: all of them.
    `length` is 0 where the file does not say what it is: its footer is damaged. `gone`: blocks of a complete chunk that may
    never be read; as long as there are any, `bits` is not None."""

    __slots__ = ("bits", "chunk", "fd", "gone", "leases", "length", "partial", "pinned")

    def __init__(self, chunk: ChunkId, fd: int, length: int, bits: Bits | None, *, partial: bool) -> None:
        self.chunk = chunk
        self.fd = fd
        self.length = length
        self.bits = bits
        self.partial = partial
        self.gone = b""
        self.leases = 0
        self.pinned = -1  # blocks to free at the last close; not -1: the chunk is gone


class HandleLease:
    """See `Lease`. The descriptor is shared: read at offsets, never move its position or change its flags."""

    __slots__ = ("_close", "_handle", "fd", "sums_at", "whole")

    def __init__(self, handle: Handle, close: Callable[[Handle], None], sums_at: int) -> None:
        self.fd = handle.fd
        self.sums_at = sums_at
        self.whole = handle.bits is None
        self._handle: Handle | None = handle
        self._close = close

    def close(self) -> None:
        """Idempotent."""
        handle, self._handle = self._handle, None
        if handle is not None:
            self._close(handle)


class Handles:
    """`freed` is called, under the lock, with the blocks of a chunk that is gone when nobody holds it any more. `sums_at`: where
    its files have their checksums; -1: nowhere."""

    def __init__(self, limit: int, lock: threading.Lock, freed: Callable[[int], None], sums_at: int = -1) -> None:
        self._sums_at = sums_at
        self._limit = limit
        self._lock = lock
        self._freed = freed
        self.pinned_blocks = 0
        self._table: OrderedDict[ChunkId, Handle] = OrderedDict()

    def get(self, chunk: ChunkId) -> Handle | None:
        handle = self._table.get(chunk)
        if handle is not None:
            self._table.move_to_end(chunk)
        return handle

    def add(self, handle: Handle) -> None:
        if len(self._table) >= self._limit:
            self._trim()  # before the new one is in, because that is idle as well
        self._table[handle.chunk] = handle

    def lease(self, handle: Handle) -> HandleLease:
        handle.leases += 1
        return HandleLease(handle, self._give_back, self._sums_at)

    def drop(self, chunk: ChunkId, blocks: int) -> None:
        """The chunk's file is gone: its blocks are free now, or when the last lease is closed."""
        handle = self._table.pop(chunk, None)
        if handle is None:
            self._freed(blocks)
            return
        handle.pinned = blocks
        self.pinned_blocks += blocks
        if not handle.leases:
            self._end(handle)

    def is_leased(self, chunk: ChunkId) -> bool:
        handle = self._table.get(chunk)
        return handle is not None and handle.leases > 0

    def close(self) -> None:
        """Closes what is idle; leases stay readable."""
        for handle in list(self._table.values()):
            self.drop(handle.chunk, 0)

    def _give_back(self, handle: Handle) -> None:
        with self._lock:
            handle.leases -= 1
            if not handle.leases and handle.pinned >= 0:
                self._end(handle)

    def _end(self, handle: Handle) -> None:
        os.close(handle.fd)
        self.pinned_blocks -= handle.pinned
        self._freed(handle.pinned)

    def _trim(self) -> None:
        """Closes the idlest handle; none while all that are old are leased, which their holders bound."""
        for _, handle in zip(range(_LOOK), self._table.values(), strict=False):
            if not handle.leases:
                del self._table[handle.chunk]
                os.close(handle.fd)
                return
