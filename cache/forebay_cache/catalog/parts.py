"""The parts table of a segment: an immutable file whose SHA-256 is the segment's id.

Little endian, sections aligned to 8:
  header   64 bytes: magic, layout version, parts, segment size, bytes of the origin's identity, bytes of the salt
  origin   identity, then the salt ("" where an ETag determines bytes)
  records  16 bytes a part: offset u64, size u64; offsets rise
  ends     u32 (3 * parts + 1): where each key, ETag and version ends in the heap
  heap     key, ETag, version of the first part, of the second, ...
"""

import hashlib
import itertools
import mmap
import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from forebay_cache.catalog.base import Part
from forebay_cache.model.errors import CatalogCorrupt
from forebay_cache.model.ids import BLOCK_SIZE, LAYOUT_VERSION, SegmentId, round_up

MAGIC = b"fbparts1"
_HEADER = struct.Struct("<8sIIQII32x")
_RECORD = struct.Struct("<QQ")


class Draft:
    """A parts table being gathered. Hot: 1 us a part."""

    def __init__(self, origin: str, salt: bytes) -> None:
        self.origin = origin
        self.salt = salt
        self.size = 0
        """Bytes of the segment so far: where the next part may begin."""
        self._records = array("Q")
        self._ends = array("I", (0,))
        self._heap = bytearray()

    def add(self, offset: int, size: int, key: bytes, etag: str, version: str | None) -> None:
        """Parts come in order of offset."""
        heap, ends = self._heap, self._ends
        self._records.append(offset)
        self._records.append(size)
        heap += key
        ends.append(len(heap))
        heap += etag.encode()
        ends.append(len(heap))
        if version:
            heap += version.encode()
        ends.append(len(heap))
        self.size = offset + (size + BLOCK_SIZE - 1) // BLOCK_SIZE * BLOCK_SIZE

    def encode(self) -> tuple[SegmentId, bytes]:
        """The segment's id, and its table as a file."""
        name, count = self.origin.encode(), len(self._records) // 2
        head = _HEADER.pack(MAGIC, LAYOUT_VERSION, count, self.size, len(name), len(self.salt)) + name + self.salt
        ends = self._ends.tobytes()
        sections = (head, bytes(-len(head) % 8), self._records.tobytes(), ends, bytes(-len(ends) % 8), self._heap)
        table = b"".join(sections)
        return SegmentId(hashlib.sha256(table).digest()), table


class PartsTable:
    """Implements Parts over a file's bytes, mapped or in memory. Look-ups are a bisect, some 3 us."""

    def __init__(self, segment: SegmentId, data: mmap.mmap | bytes) -> None:
        try:
            magic, version, count, size, name, salt = _HEADER.unpack_from(data)
        except struct.error as exc:
            raise CatalogCorrupt(f"parts table {segment.hex()} is too short") from exc
        if magic != MAGIC or version != LAYOUT_VERSION:
            raise CatalogCorrupt(f"parts table {segment.hex()} is none of layout {LAYOUT_VERSION}")
        self.segment = segment
        self.size: int = size
        self._count: int = count
        self.origin = data[_HEADER.size : _HEADER.size + name].decode()
        records = round_up(_HEADER.size + name + salt, 8)
        ends = records + _RECORD.size * self._count
        view = memoryview(data)
        self._data = data
        self._numbers = view[records:ends].cast("Q")
        self._offsets = self._numbers[::2]
        self._ends = view[ends : ends + 4 * (3 * self._count + 1)].cast("I")
        self._heap = round_up(ends + 4 * (3 * self._count + 1), 8)

    def __len__(self) -> int:
        return self._count

    def part(self, index: int) -> Part:
        at = self._ends[3 * index : 3 * index + 4]
        key, etag, version = (self._data[self._heap + a : self._heap + b] for a, b in itertools.pairwise(at))
        offset, size = self._numbers[2 * index], self._numbers[2 * index + 1]
        return Part(index, offset, size, key, etag.decode(), version.decode() or None)

    def at(self, offset: int) -> Part:
        return self.part(bisect_right(self._offsets, offset) - 1)

    def within(self, start: int, stop: int) -> Sequence[Part]:
        first = max(0, bisect_right(self._offsets, start) - 1)
        return [self.part(index) for index in range(first, bisect_left(self._offsets, stop))]
