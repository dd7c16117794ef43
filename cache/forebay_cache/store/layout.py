"""The chunk file: names, regions, footer. Pure; README.md beside this file draws it.

[0, length)              the chunk's bytes at their own offsets, sparse while partial
[8 MiB, 8 MiB + 8 KiB)   CRC32C of each 4 KiB block, u32 little endian
[8 MiB + 8 KiB, + 4 KiB) the footer, which says what the file is, and which of its blocks will never come
"""

import re
import struct
from dataclasses import dataclass

from crc32c import crc32c

from forebay_cache.model.ids import BLOCK_SIZE, CHUNK_SIZE, ChunkId, SegmentId

FORMAT_VERSION = 1
GONE_VERSION = 2
"""Of a chunk that lacks gone parts. A program that knows only the first version takes it for damaged, and fills it anew."""
BLOCKS = CHUNK_SIZE // BLOCK_SIZE
SUM_SIZE = 4
SUMS_AT = CHUNK_SIZE
FOOTER_AT = SUMS_AT + BLOCKS * SUM_SIZE
FILE_SIZE = FOOTER_AT + BLOCK_SIZE
"""Every chunk file has this length, whatever it holds."""
EXTRA_BLOCKS = (FILE_SIZE - CHUNK_SIZE) // BLOCK_SIZE
PARTIAL = ".partial"

_FOOTER = struct.Struct("<8s32sQIIII")  # magic, segment, number, version, length, slot, boots
_CRC = struct.Struct("<I")
_MAGIC = b"forebayC"
_NAME = re.compile(rf"([0-9a-f]{{64}})-(0|[1-9][0-9]*)({re.escape(PARTIAL)})?")
_GONE_AT = _FOOTER.size + _CRC.size
_GONE_SIZE = BLOCKS // 8
FOOTER_SIZE = _GONE_AT + _GONE_SIZE + _CRC.size


@dataclass(frozen=True, slots=True)
class Footer:
    """What a chunk file says of itself. `slot`: its place in the presence map while partial. `boots`: the boot, counted
    from the store's first, that wrote these bytes or last verified all of them. `gone`: a bit for each block of parts that the
    origin no longer has, as in the presence map; empty where there is none. Such blocks are zeros that nobody may be given."""

    chunk: ChunkId
    length: int
    slot: int
    boots: int
    gone: bytes = b""

    def pack(self) -> bytes:
        version = GONE_VERSION if self.gone else FORMAT_VERSION
        body = _FOOTER.pack(_MAGIC, self.chunk.segment, self.chunk.number, version, self.length, self.slot, self.boots)
        gone = self.gone + _CRC.pack(crc32c(self.gone)) if self.gone else b""
        return (body + _CRC.pack(crc32c(body)) + gone).ljust(FOOTER_SIZE, b"\0")


def parse_footer(data: bytes) -> Footer | None:
    """None: not a footer of this format, or damaged."""
    if len(data) != FOOTER_SIZE or crc32c(data[: _FOOTER.size]) != _CRC.unpack_from(data, _FOOTER.size)[0]:
        return None
    magic, segment, number, version, length, slot, boots = _FOOTER.unpack_from(data)
    if magic != _MAGIC or version not in (FORMAT_VERSION, GONE_VERSION) or not _is_length(length):
        return None
    gone = data[_GONE_AT : _GONE_AT + _GONE_SIZE] if version == GONE_VERSION else b""
    sealed = crc32c(gone) == _CRC.unpack_from(data, _GONE_AT + _GONE_SIZE)[0]
    if not (sealed if gone else data[_GONE_AT:] == bytes(FOOTER_SIZE - _GONE_AT)):
        return None
    return Footer(ChunkId(SegmentId(segment), number), length, slot, boots, gone)


def folder_of(chunk: ChunkId) -> str:
    """One of 4,096 folders on two levels: some 500 files each at 16 TB, and a segment's chunks spread evenly."""
    place = ((int.from_bytes(chunk.segment[:2]) >> 4) + chunk.number) & 0xFFF
    return f"{place >> 4:02x}/{place & 15:x}"


def complete_name(chunk: ChunkId) -> str:
    """Path below the folder of chunks."""
    return f"{folder_of(chunk)}/{chunk.segment.hex()}-{chunk.number}"


def partial_name(chunk: ChunkId) -> str:
    return complete_name(chunk) + PARTIAL


def parse_name(name: str) -> tuple[ChunkId, bool] | None:
    """A file's name (no folder) -> its chunk, and whether it is partial; None: not a chunk's name."""
    found = _NAME.fullmatch(name)
    if not found:
        return None
    return ChunkId(SegmentId(bytes.fromhex(found[1])), int(found[2])), found[3] is not None


def check_length(length: int) -> None:
    """Raises ValueError unless a chunk can be this long: whole blocks, as segments are padded."""
    if not _is_length(length):
        raise ValueError(f"a chunk is 1 to {BLOCKS} blocks of {BLOCK_SIZE} bytes, not {length} bytes")


def blocks_of(start: int, stop: int) -> tuple[int, int]:
    """Blocks [first, last) that bytes [start, stop) touch."""
    return start // BLOCK_SIZE, -(-stop // BLOCK_SIZE)


def _is_length(length: int) -> bool:
    return 0 < length <= CHUNK_SIZE and length % BLOCK_SIZE == 0
