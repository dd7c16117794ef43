"""A leaf: one immutable manifest file of a commit, named by its SHA-256; sorted by key, mapped, looked up by bisect.

Little endian, sections aligned to 8:
  header    64 bytes: magic, keys, segments, strings; then where ends, segments, strings and heap begin
  records   48 bytes a key: size u64, mtime i64 (ms), offset u64, ETag 16 bytes, segment u32 (row), kind u32
  ends      u32 (keys + 1): where each key begins in the heap, and the end of the last
  segments  32 bytes each, in order of first use: a leaf's bytes depend on nothing but its rows
  strings   u32 ends, then bytes: ETags that are no MD5
  heap      the keys
Kind: 0 an MD5; n > 0 an MD5 of n parts ("...-n"); TEXT: the first 4 bytes are a row of the strings.

Leaves are cut behind a key whose hash says so, so that an insertion moves no cut but those of its own leaf.
"""

import hashlib
import itertools
import mmap
import re
import struct
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterator

from forebay_cache.catalog.base import Entry
from forebay_cache.model.errors import CatalogCorrupt
from forebay_cache.model.ids import BLOCK_SIZE, Extent, SegmentId

MAGIC = b"fbleaf1\n"
LEAST, MEAN, MOST = 1 << 15, 1 << 17, 1 << 19
"""Keys of a leaf; the mean counts from the least on."""
KEY_LIMIT = 4096
"""Bytes of a path: S3 allows 1,024 of a key, a directory 4,096."""
_BLOCK = 2048
"""Keys read at once in a scan."""
Row = tuple[bytes, int, int, SegmentId, int]
"""What an image needs of an entry: key, size, mtime in ms, segment, offset. Half the price of an Entry."""
_HEADER = struct.Struct("<8s6I4Q")
_RECORD = struct.Struct("<QqQ16sII")
_Record = tuple[int, int, int, bytes, int, int]
_TEXT = 0xFFFFFFFF
_MD5 = re.compile(r"([0-9a-f]{32})(?:-([1-9][0-9]{0,7}))?", re.ASCII)


class Draft:
    """A leaf being gathered."""

    def __init__(self) -> None:
        self._ends = array("I", [0])
        self._heap = bytearray()
        self._records = bytearray()
        self._segments: dict[bytes, int] = {}
        self._strings: dict[str, int] = {}
        self._last = b""
        self.first = b""

    @property
    def count(self) -> int:
        return len(self._ends) - 1

    def add(self, entry: Entry) -> None:
        if entry.key <= self._last:
            raise ValueError(f"not sorted: {entry.key!r} after {self._last!r}")
        self._last = entry.key
        self.first = self.first or entry.key
        raw, kind = self._etag(entry.etag)
        row = self._segments.setdefault(entry.extent.segment, len(self._segments))
        self._records += _RECORD.pack(entry.size, entry.mtime_ms, entry.extent.offset, raw, row, kind)
        self._heap += entry.key
        self._ends.append(len(self._heap))

    def cut_behind(self, key: bytes) -> bool:
        """CRC is linear; the product spreads the keys of a counting sequence."""
        if self.count < LEAST:
            return False
        return self.count >= MOST or zlib.crc32(key) * 0x9E3779B1 & 0xFFFFFFFF < (1 << 32) // MEAN

    def encode(self) -> tuple[str, bytes]:
        """The leaf's name, SHA-256 in hex, and its file."""
        texts = [text.encode() for text in self._strings]
        table = array("I", itertools.accumulate(map(len, texts), initial=0))
        sections = (
            self._ends.tobytes(),
            b"".join(self._segments),
            table.tobytes() + b"".join(texts),
            bytes(self._heap),
        )
        places, body, at = [], [bytes(self._records)], _HEADER.size + len(self._records)
        for section in sections:
            places.append(at)
            padding = bytes(-len(section) % 8)
            body += (section, padding)
            at += len(section) + len(padding)
        head = _HEADER.pack(MAGIC, self.count, len(self._segments), len(texts), 0, 0, 0, *places)
        data = b"".join((head, *body))
        return hashlib.sha256(data).hexdigest(), data

    def _etag(self, etag: str) -> tuple[bytes, int]:
        match = _MD5.fullmatch(etag)
        if match:
            return bytes.fromhex(match[1]), int(match[2] or 0)
        return self._strings.setdefault(etag, len(self._strings)).to_bytes(16, "little"), _TEXT


class Leaf:
    """One mapped leaf. A look-up takes 8-10 us, a scan gives a million entries a second."""

    def __init__(self, name: str, data: mmap.mmap | bytes) -> None:
        try:
            magic, self.count, segments, self._texts, _, _, _, ends, at, self._strings, self._heap = (
                _HEADER.unpack_from(data)
            )
        except struct.error as exc:
            raise CatalogCorrupt(f"leaf {name} is too short") from exc
        if magic != MAGIC:
            raise CatalogCorrupt(f"{name} is not a leaf")
        self._data = data
        view = memoryview(data)
        self._records = view[_HEADER.size : _HEADER.size + _RECORD.size * self.count]
        self._ends = view[ends : ends + 4 * self.count + 4].cast("I")
        self.segments = [SegmentId(data[at + 32 * row : at + 32 * row + 32]) for row in range(segments)]

    def key(self, index: int) -> bytes:
        # slices of the map: memoryviews have no order
        return self._data[self._heap + self._ends[index] : self._heap + self._ends[index + 1]]

    def lower(self, key: bytes) -> int:
        """Index of the first key that is not less."""
        return bisect_left(range(self.count), key, key=self.key)

    def find(self, key: bytes) -> Entry | None:
        index = self.lower(key)
        return self.entry(index) if index < self.count and self.key(index) == key else None

    def entry(self, index: int) -> Entry:
        return self._entry(self.key(index), _RECORD.unpack_from(self._records, _RECORD.size * index))

    def entries(self, start: int = 0) -> Iterator[Entry]:
        return itertools.starmap(self._entry, self._scan(start))

    def rows(self) -> Iterator[Row]:
        for key, (size, mtime, offset, _, row, _) in self._scan(0):
            yield key, size, mtime, self.segments[row], offset

    def weights(self) -> Iterator[tuple[SegmentId, int, int]]:
        """Of each segment the bytes of the files that lie in it, in whole blocks, and the size of the largest."""
        totals, largest = [0] * len(self.segments), [0] * len(self.segments)
        for size, _, _, _, row, _ in _RECORD.iter_unpack(self._records):
            totals[row] += (size + BLOCK_SIZE - 1) & -BLOCK_SIZE
            if size > largest[row]:  # noqa: PLR1730  a call costs three times as much
                largest[row] = size
        return zip(self.segments, totals, largest, strict=True)

    def _scan(self, start: int) -> Iterator[tuple[bytes, _Record]]:
        """A block at a time; the first ones are small, because most scans are short."""
        step = 16
        while start < self.count:
            stop = min(self.count, start + step)
            ends = self._ends[start : stop + 1].tolist()
            base = self._heap + ends[0]
            heap = self._data[base : self._heap + ends[-1]]
            records = _RECORD.iter_unpack(self._records[_RECORD.size * start : _RECORD.size * stop])
            for (begin, end), record in zip(itertools.pairwise(ends), records, strict=True):
                yield heap[begin - ends[0] : end - ends[0]], record
            start, step = stop, min(_BLOCK, step * 4)

    def _entry(self, key: bytes, record: _Record) -> Entry:
        size, mtime, offset, raw, row, kind = record
        return Entry(key, size, mtime, self._etag(raw, kind), Extent(self.segments[row], offset, size))

    def _etag(self, raw: bytes, kind: int) -> str:
        if kind != _TEXT:
            return raw.hex() + (f"-{kind}" if kind else "")
        row = int.from_bytes(raw[:4], "little")
        begin, end = struct.unpack_from("<2I", self._data, self._strings + 4 * row)
        base = self._strings + 4 * (self._texts + 1)
        return self._data[base + begin : base + end].decode()
