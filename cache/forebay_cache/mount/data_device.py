"""Where the bytes of a READ come from: pieces of chunks, or padding known here. Pure; hot: 2 us a READ of one chunk."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from forebay_cache.catalog.base import Device
from forebay_cache.model.ids import BLOCK_SIZE, CHUNK_SIZE, SegmentId


class ChunkPiece(NamedTuple):
    """Bytes [start, stop) of a chunk go to `place` of the answer. A tuple: half the price of a frozen dataclass."""

    segment: SegmentId
    number: int
    start: int
    stop: int
    place: int


class DataDevices:
    """The data devices of one commit, by number."""

    def __init__(self, devices: Sequence[Device]) -> None:
        self._devices = devices
        # bisect by a plain list is three times as fast as by a key
        self._offsets = [[placed.offset for placed in device.placed] for device in devices]

    @property
    def sizes(self) -> list[int]:
        return [device.size for device in self._devices]

    def clip(self, number: int, offset: int, length: int) -> int:
        """Bytes there are of a READ: none beyond the device's end. Raises IndexError for a device that is not there."""
        return max(0, min(length, self._devices[number].size - offset)) if number >= 0 else 0

    def pieces(self, number: int, offset: int, length: int) -> list[ChunkPiece]:
        """The chunks under bytes [offset, offset + length) of a device, in order. What none covers is padding."""
        placed, offsets = self._devices[number].placed, self._offsets[number]
        index = max(0, bisect_right(offsets, offset) - 1)
        at, stop, found = offset, offset + length, []
        while index < len(offsets) and at < stop:
            segment = placed[index]
            at = max(at, segment.offset)
            if at >= segment.offset + segment.size:
                index += 1
            elif at < stop:
                chunk, start = divmod(at - segment.offset, CHUNK_SIZE)
                end = min(CHUNK_SIZE, start + min(stop, segment.offset + segment.size) - at)
                found.append(ChunkPiece(segment.segment, chunk, start, end, at - offset))
                at += end - start
        return found

    def padding(self, number: int, offset: int, length: int) -> bytes:
        """The same bytes where no segment covers them: the identity block, then zeros."""
        return self._devices[number].identity[offset : min(offset + length, BLOCK_SIZE)].ljust(length, b"\0")
