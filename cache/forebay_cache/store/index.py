"""ChunkId -> row number, in flat memory: 40 bytes of key and 6 to 12 of table a chunk. Pure; not thread-safe.

A dict of ChunkId objects takes some 300 bytes a chunk: 600 MB for a store of 16 TB. This is open addressing with linear
probing; segment ids are SHA-256, so their first bytes are the hash. Rows are small integers that other flat arrays use.
Source: Knuth, TAOCP volume 3, section 6.4, algorithms L and R.
"""

import struct
from array import array
from collections.abc import Iterator

from forebay_cache.model.ids import ChunkId, SegmentId

_KEY = struct.Struct("<32sQ")
_STRIDE = _KEY.size
_HASH = struct.Struct("<Q24xQ")
_SPREAD = 0x9E3779B97F4A7C15  # odd: the chunks of one segment fall on different places
_SMALLEST = 1024


class Index:
    """Rows are given densely from 0 and used again after `remove`; `rows` is one past the highest ever given."""

    def __init__(self) -> None:
        self.rows = 0
        self._keys = bytearray()
        self._table = array("I", bytes(4 * _SMALLEST))  # row + 1; 0 is an empty place
        self._free = array("I")

    def __len__(self) -> int:
        return self.rows - len(self._free)

    def find(self, chunk: ChunkId) -> int:
        """The chunk's row; -1 if it has none."""
        key = _KEY.pack(chunk.segment, chunk.number)
        return self._table[self._place(key)] - 1

    def add(self, chunk: ChunkId) -> int:
        """A row for a chunk that has none."""
        if 3 * (len(self) + 1) > 2 * len(self._table):
            self._double()
        key = _KEY.pack(chunk.segment, chunk.number)
        row = self._free.pop() if self._free else self.rows
        if row == self.rows:
            self.rows += 1
            self._keys += key
        else:
            self._keys[row * _STRIDE : (row + 1) * _STRIDE] = key
        self._table[self._place(key)] = row + 1
        return row

    def remove(self, row: int) -> None:
        table, mask = self._table, len(self._table) - 1
        hole = self._place(self._key(row))
        at = hole
        while True:
            at = (at + 1) & mask
            if not table[at]:
                break
            home = self._home(self._key(table[at] - 1))
            if (at - home) & mask >= (at - hole) & mask:  # it may move back to the hole and still be found
                table[hole], hole = table[at], at
        table[hole] = 0
        self._free.append(row)

    def chunk(self, row: int) -> ChunkId:
        """The chunk of a row in use."""
        segment, number = _KEY.unpack_from(self._keys, row * _STRIDE)
        return ChunkId(SegmentId(segment), number)

    def segment(self, row: int) -> bytes:
        at = row * _STRIDE
        return bytes(self._keys[at : at + 32])

    def in_use(self) -> Iterator[int]:
        """All rows in use, in no order. Not while the index changes."""
        return (entry - 1 for entry in self._table if entry)

    def _key(self, row: int) -> bytes:
        return bytes(self._keys[row * _STRIDE : (row + 1) * _STRIDE])

    def _home(self, key: bytes) -> int:
        head, number = _HASH.unpack(key)
        return int(head + number * _SPREAD) & (len(self._table) - 1)

    def _place(self, key: bytes) -> int:
        """Where the key is, or the empty place where it would go."""
        table, keys, mask, at = self._table, self._keys, len(self._table) - 1, self._home(key)
        while entry := table[at]:
            start = (entry - 1) * _STRIDE
            if keys[start : start + _STRIDE] == key:
                break
            at = (at + 1) & mask
        return at

    def _double(self) -> None:
        rows = list(self.in_use())
        self._table = array("I", bytes(8 * len(self._table)))
        for row in rows:
            self._table[self._place(self._key(row))] = row + 1
