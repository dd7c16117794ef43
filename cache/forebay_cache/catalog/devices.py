"""The data devices of a commit: its segments end to end. A pure function of the commit, so any agent can take over a mount.

The table is a catalog file; little endian:
  header   112 bytes: magic, devices, the commit id in 64 hex digits, SHA-256 of all that follows
  device   16 bytes each: size u64, segments u64
  placed   48 bytes each, device after device, by offset: segment id, offset u64, size u64

The first and the last MiB of a device are padding: udev and partition scans look there, and must not wake an origin.
"""

import hashlib
import heapq
import struct
from bisect import bisect_right
from collections.abc import Mapping, Sequence

from forebay_cache.catalog.base import Device, Placed
from forebay_cache.model.errors import BadInput, CatalogCorrupt
from forebay_cache.model.ids import BLOCK_SIZE, CommitId, SegmentId

PADDING = 1 << 20
LEAST, MOST = 4, 23
DEVICE_GOAL = 15 << 40
"""Bytes a device should hold."""
DEVICE_LIMIT = ((1 << 32) - 1) * BLOCK_SIZE
"""Bytes it can hold: EROFS counts blocks with 32 bits, and the last number means none."""
MAGIC = b"fbdevs1\n"
_HEADER = struct.Struct("<8sQ64s32s")
_DEVICE = struct.Struct("<QQ")
_PLACED = struct.Struct("<32sQQ")


def plan(commit: CommitId, sizes: Mapping[SegmentId, int]) -> Sequence[Device]:
    """Spreads segments over devices: in order of id, each onto the emptiest. Raises BadInput for more than MOST devices
    can hold."""
    total = sum(sizes.values())
    for count in range(min(MOST, max(LEAST, -(-total // DEVICE_GOAL))), MOST + 1):
        devices = _spread(commit, sizes, count)
        if all(device.size <= DEVICE_LIMIT for device in devices):
            return devices
    raise BadInput(
        f"{total} bytes in {len(sizes)} segments, the largest of {max(sizes.values())}: "
        f"an image has at most {MOST} devices of 16 TiB; divide the Dataset"
    )


def _spread(commit: CommitId, sizes: Mapping[SegmentId, int], count: int) -> Sequence[Device]:
    emptiest = [(PADDING, number) for number in range(count)]
    placed: list[list[Placed]] = [[] for _ in range(count)]
    for segment in sorted(sizes):
        end, number = emptiest[0]
        placed[number].append(Placed(segment, end, sizes[segment]))
        heapq.heapreplace(emptiest, (end + sizes[segment], number))
    ends = {number: end for end, number in emptiest}
    return [
        Device(number, ends[number] + PADDING, identity(commit, number), tuple(placed[number]))
        for number in range(count)
    ]


def identity(commit: CommitId, number: int) -> bytes:
    """The block at byte 0 of a device: what the agent looks for, because the kernel does not check which device is which."""
    name = f"forebay data device {number} of commit {commit}\n".encode()
    seal = hashlib.sha256(name).digest()
    return name + seal + bytes(BLOCK_SIZE - len(name) - len(seal))


def encode(commit: CommitId, devices: Sequence[Device]) -> bytes:
    body = b"".join(
        (
            *(_DEVICE.pack(device.size, len(device.placed)) for device in devices),
            *(_PLACED.pack(p.segment, p.offset, p.size) for device in devices for p in device.placed),
        )
    )
    return _HEADER.pack(MAGIC, len(devices), commit.encode(), hashlib.sha256(body).digest()) + body


def decode(data: bytes) -> Sequence[Device]:
    """Raises CatalogCorrupt."""
    try:
        magic, count, name, seal = _HEADER.unpack_from(data)
        heads = [_DEVICE.unpack_from(data, _HEADER.size + _DEVICE.size * number) for number in range(min(count, MOST))]
        commit = CommitId(name.decode("ascii"))
    except (struct.error, UnicodeDecodeError) as exc:
        raise CatalogCorrupt("a device table is cut short, or its header damaged") from exc
    if magic != MAGIC or seal != hashlib.sha256(memoryview(data)[_HEADER.size :]).digest():
        raise CatalogCorrupt("not a device table, or not a whole one")
    at, devices = _HEADER.size + _DEVICE.size * count, []
    if len(data) != at + _PLACED.size * sum(segments for _, segments in heads):  # the seal leaves the header out
        raise CatalogCorrupt(f"a device table's header counts {count} devices, which is not what follows")
    for number, (size, segments) in enumerate(heads):
        rows = _PLACED.iter_unpack(data[at : at + _PLACED.size * segments])
        placed = tuple(Placed(SegmentId(segment), offset, length) for segment, offset, length in rows)
        devices.append(Device(number, size, identity(commit, number), placed))
        at += _PLACED.size * segments
    return devices


def locate(device: Device, offset: int) -> Placed | None:
    """The segment that holds byte `offset` of the device; None in the padding."""
    index = bisect_right(device.placed, offset, key=lambda placed: placed.offset) - 1
    if index < 0:
        return None
    placed = device.placed[index]
    return placed if offset < placed.offset + placed.size else None
