"""Names of things, and the constants of layout version 1. An id determines its bytes for ever."""

from dataclasses import dataclass
from typing import NewType

LAYOUT_VERSION = 1
CHUNK_SIZE = 8 << 20
"""Bytes of a chunk: the unit of caching, placement, transfer and eviction."""
BLOCK_SIZE = 4096
"""Bytes of a block: the unit of checksums, presence and alignment of parts in a packed segment."""
PACKED_SEGMENT_LIMIT = 256 << 20
"""A packed segment grows to this many bytes at most; a segment of one large object has no limit."""

SegmentId = NewType("SegmentId", bytes)
"""32 bytes: SHA-256 of the segment's parts table file."""
CommitId = NewType("CommitId", str)
"""64 hex digits: SHA-256 over the layout version and the commit's leaf ids."""
LeafId = NewType("LeafId", bytes)
"""32 bytes: SHA-256 of the leaf file."""
MemberId = NewType("MemberId", str)
"""UUID of a member's store, not of its pod."""


@dataclass(frozen=True, slots=True, order=True)
class ChunkId:
    """Slice `number` of a segment; chunk n holds segment bytes [n * CHUNK_SIZE, (n + 1) * CHUNK_SIZE)."""

    segment: SegmentId
    number: int

    def __str__(self) -> str:
        return f"{self.segment.hex()}-{self.number}"


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a file's bytes are: `length` bytes at `offset` of a segment."""

    segment: SegmentId
    offset: int
    length: int


def chunk_length(segment_size: int, number: int) -> int:
    """Bytes of chunk `number` in a segment of `segment_size` bytes: CHUNK_SIZE for all but the last."""
    return min(CHUNK_SIZE, segment_size - number * CHUNK_SIZE)


def round_up(size: int, unit: int) -> int:
    """`size` rounded up to a multiple of `unit`."""
    return -(-size // unit) * unit
