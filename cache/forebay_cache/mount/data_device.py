"""Where the bytes of a READ come from: pieces of chunks, or padding known here. Pure; hot: 3 us a READ of one chunk."""

from collections.abc import Sequence
from typing import NamedTuple

from forebay_cache.catalog.base import Device
from forebay_cache.catalog.devices import locate
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

    @property
    def sizes(self) -> list[int]:
        return [device.size for device in self._devices]

    def clip(self, number: int, offset: int, length: int) -> int:
        """Bytes there are of a READ: none beyond the device's end. Raises IndexError for a device that is not there."""
        return max(0, min(length, self._devices[number].size - offset)) if number >= 0 else 0

    def pieces(self, number: int, offset: int, length: int) -> list[ChunkPiece]:
        """The chunks under bytes [offset, offset + length) of a device, in order. What none covers is padding."""
        device, at, stop = self._devices[number], offset, offset + length
        found = []
        while at < stop:
            placed = locate(device, at)
            if placed is None:
                at = self._next_segment(device, at, stop)
                continue
            chunk, start = divmod(at - placed.offset, CHUNK_SIZE)
            end = min(CHUNK_SIZE, start + min(stop, placed.offset + placed.size) - at)
            found.append(ChunkPiece(placed.segment, chunk, start, end, at - offset))
            at += end - start
        return found

    def padding(self, number: int, offset: int, length: int) -> bytes:
        """The same bytes where no segment covers them: the identity block, then zeros."""
        return self._devices[number].identity[offset : min(offset + length, BLOCK_SIZE)].ljust(length, b"\0")

    @staticmethod
    def _next_segment(device: Device, at: int, stop: int) -> int:
        """Where padding that begins at `at` ends, at most `stop`."""
        first = device.placed[0].offset if device.placed else stop
        return min(first, stop) if at < first else stop
