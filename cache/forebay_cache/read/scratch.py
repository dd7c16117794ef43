"""A chunk in memory for bytes the store does not take: full, failed, or not admitted. Same shape as a store's Fill."""

import os
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
        self._blocks: set[int] = set()

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        os.pwrite(self._fd, data, offset)
        self._blocks.update(range(offset // BLOCK_SIZE, (offset + len(data)) // BLOCK_SIZE))

    def missing(self, start: int, stop: int) -> Sequence[tuple[int, int]]:
        runs: list[tuple[int, int]] = []
        for block in range(start // BLOCK_SIZE, -(-stop // BLOCK_SIZE)):
            if block in self._blocks:
                continue
            at = block * BLOCK_SIZE
            if runs and runs[-1][1] == at:
                runs[-1] = (runs[-1][0], at + BLOCK_SIZE)
            else:
                runs.append((at, at + BLOCK_SIZE))
        return runs

    def lease(self) -> ScratchLease:
        return ScratchLease(self._fd)

    def complete(self) -> None:
        """Memory is never kept: there is nothing to complete."""

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
