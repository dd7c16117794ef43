"""CRC32C of blocks under way, as a store keeps them: u32 little endian each. 0.1 ms a MiB."""

import os
import sys
from array import array

from crc32c import crc32c

from forebay_cache.model.ids import BLOCK_SIZE
from forebay_cache.transfer.base import Run

SUM_SIZE = 4


def sums(data: memoryview) -> bytes:
    """Of whole blocks."""
    found = array("I", map(crc32c, [data[at : at + BLOCK_SIZE] for at in range(0, len(data), BLOCK_SIZE)]))
    if sys.byteorder == "big":
        found.byteswap()
    return found.tobytes()


def file_sums(run: Run) -> bytes:
    """Those of a run of at most RUN_LIMIT: as they are stored, else made of its bytes (of memory, that is; disks store them).
    Raises OSError."""
    if run.sums_at < 0:
        return sums(memoryview(os.pread(run.fd, run.stop - run.start, run.start)))
    first, last = run.start // BLOCK_SIZE, run.stop // BLOCK_SIZE
    return os.pread(run.fd, (last - first) * SUM_SIZE, run.sums_at + first * SUM_SIZE)
