"""The data devices of a commit: its segments end to end. A pure function of the commit, so any agent can take over a mount.

The table is a catalog file; little endian:
  header   16 bytes: magic, devices; then the commit id in 64 hex digits
  device   16 bytes each: size u64, segments u64
  placed   48 bytes each, device after device, by offset: segment id, offset u64, size u64

The first and the last MiB of a device are padding: udev and partition scans look there, and must not wake an origin.
"""

import hashlib
import struct
from bisect import bisect_right
from collections.abc import Mapping, Sequence

from forebay_cache.catalog.base import Device, Placed
from forebay_cache.model.errors import CatalogCorrupt
from forebay_cache.model.ids import BLOCK_SIZE, CommitId, SegmentId

PADDING = 1 << 20
LEAST, MOST = 4, 23
DEVICE_LIMIT = 15 << 40
"""Bytes a device should hold: EROFS addresses 16 TiB with 32 bits."""
MAGIC = b"fbdevs1\n"
_HEADER = struct.Struct("<8sQ64s")
_DEVICE = struct.Struct("<QQ")
_PLACED = struct.Struct("<32sQQ")


def plan(commit: CommitId, sizes: Mapping[SegmentId, int]) -> Sequence[Device]:
    """Spreads segments over devices: in order of id, each onto the emptiest. Raises ValueError beyond MOST devices."""
    count = max(LEAST, -(-sum(sizes.values()) // DEVICE_LIMIT))
    if count > MOST:
        raise ValueError(f"commit {commit} has {sum(sizes.values())} bytes: more than {MOST} devices of 15 TiB hold")
    ends = [PADDING] * count
    placed: list[list[Placed]] = [[] for _ in range(count)]
    for segment in sorted(sizes):
        number = ends.index(min(ends))
        placed[number].append(Placed(segment, ends[number], sizes[segment]))
        ends[number] += sizes[segment]
    return [
        Device(number, end + PADDING, identity(commit, number), tuple(placed[number]))
        for number, end in enumerate(ends)
    ]


def identity(commit: CommitId, number: int) -> bytes:
    """The block at byte 0 of a device: what the agent looks for, because the kernel does not check which device is which."""
    name = f"forebay data device {number} of commit {commit}\n".encode()
    seal = hashlib.sha256(name).digest()
    return name + seal + bytes(BLOCK_SIZE - len(name) - len(seal))


def encode(commit: CommitId, devices: Sequence[Device]) -> bytes:
    return b"".join(
        (
            _HEADER.pack(MAGIC, len(devices), commit.encode()),
            *(_DEVICE.pack(device.size, len(device.placed)) for device in devices),
            *(_PLACED.pack(p.segment, p.offset, p.size) for device in devices for p in device.placed),
        )
    )


def decode(data: bytes) -> Sequence[Device]:
    """Raises CatalogCorrupt."""
    try:
        magic, count, name = _HEADER.unpack_from(data)
        heads = [_DEVICE.unpack_from(data, _HEADER.size + _DEVICE.size * n) for n in range(count)]
        at, devices = _HEADER.size + _DEVICE.size * count, []
        for number, (size, segments) in enumerate(heads):
            rows = _PLACED.iter_unpack(data[at : at + _PLACED.size * segments])
            placed = tuple(Placed(SegmentId(segment), offset, length) for segment, offset, length in rows)
            devices.append(Device(number, size, identity(CommitId(name.decode()), number), placed))
            at += _PLACED.size * segments
    except (struct.error, UnicodeDecodeError) as exc:
        raise CatalogCorrupt("a device table is cut short") from exc
    if magic != MAGIC:
        raise CatalogCorrupt("not a device table")
    return devices


def locate(device: Device, offset: int) -> Placed | None:
    """The segment that holds byte `offset` of the device; None in the padding."""
    index = bisect_right(device.placed, offset, key=lambda placed: placed.offset) - 1
    if index < 0:
        return None
    placed = device.placed[index]
    return placed if offset < placed.offset + placed.size else None
