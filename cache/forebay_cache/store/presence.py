"""Which blocks of partial chunks are here: 256 bytes of bits a chunk, in one file mapped by whoever needs to know.

Only the keeper marks, after bytes and checksums are written (README, rule 3). The map outlives a killed process, not a
boot. Bits are read and set as big integers: well below a microsecond a range.
"""

import mmap
import os
import struct
from collections.abc import Iterable

from forebay_cache.model.errors import StoreFull
from forebay_cache.model.ids import BLOCK_SIZE
from forebay_cache.store.edge import Hook, Point
from forebay_cache.store.layout import BLOCKS

BITS_SIZE = BLOCKS // 8
_HEADER = struct.Struct("<8sII")  # magic, version, slots
_MAGIC = b"forebayP"
_VERSION = 1

Bits = memoryview | bytearray
"""The bits of one chunk: bit n % 8 of byte n // 8 is block n."""


def has(bits: Bits, first: int, last: int) -> bool:
    """Whether all of blocks [first, last) are marked."""
    return not _absent(bits, first, last)


def overlaps(bits: Bits | bytes, first: int, last: int) -> bool:
    """Whether any of blocks [first, last) is marked."""
    return _absent(bits, first, last) != (1 << (last - first)) - 1


def bits_of(runs: Iterable[tuple[int, int]]) -> bytes:
    """With these blocks marked, and no other; empty for none."""
    bits = bytearray(BITS_SIZE)
    for first, last in runs:
        mark(bits, first, last)
    return bytes(bits) if any(bits) else b""


def others(bits: bytes) -> bytearray:
    """With those blocks marked that are not."""
    return bytearray(byte ^ 0xFF for byte in bits)


def mark(bits: Bits, first: int, last: int) -> None:
    """Sets blocks [first, last). Not atomic: one thread a chunk at a time."""
    low, high = first // 8, (last + 7) // 8
    wanted = ((1 << (last - first)) - 1) << (first - 8 * low)
    bits[low:high] = (int.from_bytes(bits[low:high], "little") | wanted).to_bytes(high - low, "little")


def missing(bits: Bits, first: int, last: int) -> list[tuple[int, int]]:
    """Runs [a, b) of blocks within [first, last) that are not marked, in order."""
    absent, at, runs = _absent(bits, first, last), first, []
    while absent:
        skip = (absent & -absent).bit_length() - 1
        absent >>= skip
        run = (~absent & (absent + 1)).bit_length() - 1
        absent >>= run
        runs.append((at + skip, at + skip + run))
        at += skip + run
    return runs


def _absent(bits: Bits | bytes, first: int, last: int) -> int:
    low, high = first // 8, (last + 7) // 8
    return ~(int.from_bytes(bits[low:high], "little") >> (first - 8 * low)) & ((1 << (last - first)) - 1)


class Presence:
    """The map, and which of its slots are free. Not thread-safe: its store locks."""

    def __init__(self, view: memoryview, slots: int) -> None:
        self._view = view
        self.slots = slots
        self._free = set(range(slots))

    @classmethod
    def open(cls, path: str, slots: int, at: Hook, *, fresh: bool) -> "Presence":
        """Maps the file, made if it is missing or `fresh` (all bits clear), grown if it is too small. Raises OSError."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            have = 0 if fresh else _slots(fd)
            if have < slots:
                _lay(fd, have, slots, at)
            slots = max(have, slots)
            mapped = mmap.mmap(fd, BLOCK_SIZE + slots * BITS_SIZE)
        finally:
            os.close(fd)
        return cls(memoryview(mapped)[BLOCK_SIZE:], slots)

    def claim(self) -> int:
        """A free slot with all bits clear. Raises StoreFull when there is none."""
        if not self._free:
            raise StoreFull(f"all {self.slots} slots for partial chunks are taken")
        slot = self._free.pop()
        self.bits(slot)[:] = bytes(BITS_SIZE)
        return slot

    def adopt(self, slot: int) -> bool:
        """Takes a slot as it is, for a partial chunk found at open. False: there is no such free slot."""
        if slot not in self._free:
            return False
        self._free.remove(slot)
        return True

    def release(self, slot: int) -> None:
        self._free.add(slot)

    def is_free(self, slot: int) -> bool:
        return slot in self._free

    @property
    def free(self) -> int:
        return len(self._free)

    def bits(self, slot: int) -> memoryview:
        """Valid until the slot is released and claimed again."""
        return self._view[slot * BITS_SIZE : (slot + 1) * BITS_SIZE]


def _slots(fd: int) -> int:
    """Slots of an existing map; 0 if it is none."""
    header = os.pread(fd, _HEADER.size, 0)
    if len(header) < _HEADER.size:
        return 0
    magic, version, slots = _HEADER.unpack(header)
    whole = os.fstat(fd).st_size >= BLOCK_SIZE + slots * BITS_SIZE
    return int(slots) if (magic, version) == (_MAGIC, _VERSION) and whole else 0


def _lay(fd: int, have: int, slots: int, at: Hook) -> None:
    """Zeros for the slots from `have` on, then the header, so that a map is never read before it is whole."""
    if not have:
        os.ftruncate(fd, 0)
    # written, not left sparse: a hole that the full disk cannot fill would be SIGBUS when a bit in it is set
    zeros = bytes((slots - have) * BITS_SIZE)
    _write(fd, zeros, BLOCK_SIZE + have * BITS_SIZE)
    at(Point.LAY_PRESENCE)
    _write(fd, _HEADER.pack(_MAGIC, _VERSION, slots).ljust(BLOCK_SIZE, b"\0"), 0)


def _write(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, offset)
        view, offset = view[done:], offset + done
