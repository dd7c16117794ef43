"""Where the bytes of a merged segment were before: a catalog file beside its parts table, and no part of its id.

Little endian:
  header    64 bytes: magic, parts, segments, places, SHA-256 of all that follows
  segments  32 bytes each: the ancestors
  ends      u32 a part: where its places end
  places    16 bytes each: segment u32 (row), part u32, offset u64; of one part the newest place first
A segment that is merged again hands on the places it knew, because the store of a job that went on for long holds chunks of
a segment that no commit has any more.
"""

import hashlib
import mmap
import struct
from array import array
from collections.abc import Sequence

from forebay_cache.catalog.base import Ancestor
from forebay_cache.model.errors import CatalogCorrupt
from forebay_cache.model.ids import SegmentId

MAGIC = b"fbances1"
MOST = 8
"""Places of a part that are handed on."""
_HEADER = struct.Struct("<8sIIQ32s8x")
_PLACE = struct.Struct("<IIQ")


class Draft:
    """The ancestors of a segment being packed."""

    def __init__(self) -> None:
        self._rows: dict[SegmentId, int] = {}
        self._ends = array("I")
        self._places = bytearray()

    def add(self, places: Sequence[Ancestor]) -> None:
        """Of the next part."""
        for one in places[:MOST]:
            row = self._rows.setdefault(one.segment, len(self._rows))
            self._places += _PLACE.pack(row, one.part, one.offset)
        self._ends.append(len(self._places) // _PLACE.size)

    def encode(self) -> bytes:
        body = b"".join((*self._rows, self._ends.tobytes(), self._places))
        count = len(self._places) // _PLACE.size
        return _HEADER.pack(MAGIC, len(self._ends), len(self._rows), count, hashlib.sha256(body).digest()) + body


class Ancestry:
    """The file, mapped or in memory. Raises CatalogCorrupt where it is not what was written."""

    def __init__(self, segment: SegmentId, data: mmap.mmap | bytes) -> None:
        try:
            magic, self._parts, count, places, seal = _HEADER.unpack_from(data)
        except struct.error as exc:
            raise CatalogCorrupt(f"the ancestors of segment {segment.hex()} are cut short") from exc
        view = memoryview(data)
        if magic != MAGIC or seal != hashlib.sha256(view[_HEADER.size :]).digest():
            raise CatalogCorrupt(f"the ancestors of segment {segment.hex()} do not match their own checksum")
        ends = _HEADER.size + 32 * count
        if len(data) != ends + 4 * self._parts + _PLACE.size * places:  # the seal leaves the header out
            raise CatalogCorrupt(f"the ancestors of segment {segment.hex()} are not as many as their header says")
        self.segments = [SegmentId(data[at : at + 32]) for at in range(_HEADER.size, ends, 32)]
        self._at = ends + 4 * self._parts
        self._ends = view[ends : self._at].cast("I")
        self._places = view[self._at : self._at + _PLACE.size * places]

    def of(self, part: int) -> Sequence[Ancestor]:
        if not 0 <= part < self._parts:
            return ()
        first = self._ends[part - 1] if part else 0
        rows = _PLACE.iter_unpack(self._places[_PLACE.size * first : _PLACE.size * self._ends[part]])
        return [Ancestor(self.segments[row], index, offset) for row, index, offset in rows]
