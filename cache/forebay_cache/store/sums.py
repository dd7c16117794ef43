"""CRC32C of blocks: made when bytes come, checked when a boot has not seen them. Hot: 0.8 ms a chunk."""

import os
from array import array

from crc32c import crc32c

from forebay_cache.model.ids import BLOCK_SIZE
from forebay_cache.store.layout import SUM_SIZE, SUMS_AT

_AT_ONCE = 256
"""Blocks read at once to verify: 1 MiB, so that a check of a whole chunk needs no buffer of its size."""


def sums(data: bytes | bytearray | memoryview) -> bytes:
    """Checksums of whole blocks, as they lie in the trailer."""
    view = memoryview(data)
    # one list of slices and a C loop over it: no package has a call for many blocks
    blocks = [view[at : at + BLOCK_SIZE] for at in range(0, len(view), BLOCK_SIZE)]
    return array("I", map(crc32c, blocks)).tobytes()


def good_bytes(fd: int, first: int, last: int) -> bytes | None:
    """The bytes of blocks [first, last), read once, if they match the trailer of the file. Blocking; raises OSError."""
    data = os.pread(fd, (last - first) * BLOCK_SIZE, first * BLOCK_SIZE)
    want = os.pread(fd, (last - first) * SUM_SIZE, SUMS_AT + first * SUM_SIZE)
    return data if len(data) == (last - first) * BLOCK_SIZE and sums(data) == want else None


def bad_blocks(fd: int, first: int, last: int) -> list[int]:
    """Blocks of [first, last) whose bytes do not match the trailer of the file. Blocking; raises OSError."""
    bad: list[int] = []
    for at in range(first, last, _AT_ONCE):
        bad += _bad_of(fd, at, min(at + _AT_ONCE, last))
    return bad


def _bad_of(fd: int, first: int, last: int) -> list[int]:
    count = last - first
    want = os.pread(fd, count * SUM_SIZE, SUMS_AT + first * SUM_SIZE)
    have = sums(os.pread(fd, count * BLOCK_SIZE, first * BLOCK_SIZE))
    if have == want and len(have) == count * SUM_SIZE:
        return []
    pairs = ((at, slice(at * SUM_SIZE, (at + 1) * SUM_SIZE)) for at in range(count))
    return [first + at for at, place in pairs if len(have[place]) < SUM_SIZE or have[place] != want[place]]
