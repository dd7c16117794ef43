"""A chunk in memory for bytes the store does not take: full, failed, or not admitted. Same shape as a store's Fill."""

import os
import threading
from collections.abc import Sequence

from forebay_cache.model.ids import BLOCK_SIZE


class ScratchLease:
    """A descriptor of its own, so that a reader outlives the fill."""

    whole = False
    sums_at = -1

    def __init__(self, fd: int) -> None:
        self.fd = os.dup(fd)

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


class ScratchFill:
    """Bytes of one chunk in an anonymous file; gone with its last lease. Bounded by its owner: one a flight."""

    def __init__(self, name: str) -> None:
        self._fd = os.memfd_create(f"forebay-{name}"[:200], os.MFD_CLOEXEC)
        self._here = 0  # bit n: block n is here
        self._lock = threading.Lock()

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        os.pwrite(self._fd, data, offset)
        with self._lock:
            self._here |= ((1 << len(data) // BLOCK_SIZE) - 1) << offset // BLOCK_SIZE

    def missing(self, start: int, stop: int) -> Sequence[tuple[int, int]]:
        at, last = start // BLOCK_SIZE, -(-stop // BLOCK_SIZE)
        absent = ~(self._here >> at) & ((1 << (last - at)) - 1)
        runs: list[tuple[int, int]] = []
        while absent:
            skip = (absent & -absent).bit_length() - 1
            absent >>= skip
            length = (~absent & (absent + 1)).bit_length() - 1
            absent >>= length
            runs.append(((at + skip) * BLOCK_SIZE, (at + skip + length) * BLOCK_SIZE))
            at += skip + length
        return runs

    def lease(self) -> ScratchLease:
        return ScratchLease(self._fd)

    def complete(self, gone: Sequence[tuple[int, int]] = ()) -> None:
        """Memory is never kept: there is nothing to complete."""

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
