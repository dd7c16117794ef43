from hypothesis import given
from hypothesis import strategies as st

from forebay_cache.catalog import devices as tables
from forebay_cache.catalog.base import Device
from forebay_cache.model.ids import BLOCK_SIZE, CHUNK_SIZE, CommitId, SegmentId
from forebay_cache.mount.data_device import DataDevices

COMMIT = CommitId("c" * 64)
SIZES = {
    SegmentId(b"a" * 32): 3 * CHUNK_SIZE,
    SegmentId(b"b" * 32): BLOCK_SIZE,
    SegmentId(b"c" * 32): 2 * CHUNK_SIZE + 8 * BLOCK_SIZE,
    SegmentId(b"d" * 32): 5 * BLOCK_SIZE,
    SegmentId(b"e" * 32): CHUNK_SIZE - BLOCK_SIZE,
    SegmentId(b"f" * 32): CHUNK_SIZE,
    SegmentId(b"g" * 32): 7 * BLOCK_SIZE,
}
PLANNED = tables.decode(tables.encode(COMMIT, tables.plan(COMMIT, SIZES)))
DEVICES = DataDevices(PLANNED)


def expected(device: Device, block: int) -> tuple[SegmentId, int] | None:
    """Segment and its offset that block `block` of the device holds."""
    at = block * BLOCK_SIZE
    return next(((p.segment, at - p.offset) for p in device.placed if p.offset <= at < p.offset + p.size), None)


@given(number=st.integers(0, 3), first=st.integers(0, 9000), blocks=st.integers(1, 600))
def test_pieces_are_what_the_table_says(number: int, first: int, blocks: int) -> None:
    device = PLANNED[number]
    length = DEVICES.clip(number, first * BLOCK_SIZE, blocks * BLOCK_SIZE)
    found: dict[int, tuple[SegmentId, int]] = {}
    for piece in DEVICES.pieces(number, first * BLOCK_SIZE, length):
        assert 0 <= piece.start < piece.stop <= CHUNK_SIZE
        assert piece.place + piece.stop - piece.start <= length
        for at in range(0, piece.stop - piece.start, BLOCK_SIZE):
            block = first + (piece.place + at) // BLOCK_SIZE
            assert block not in found
            found[block] = (piece.segment, piece.number * CHUNK_SIZE + piece.start + at)
    every = {block: expected(device, block) for block in range(first, first + length // BLOCK_SIZE)}
    assert found == {block: where for block, where in every.items() if where is not None}


def test_reads_end_with_the_device() -> None:
    size = PLANNED[0].size
    assert DEVICES.clip(0, size - 10, 100) == 10
    assert DEVICES.clip(0, size, 100) == 0
    assert DEVICES.clip(0, size + 100, 100) == 0
    assert DEVICES.clip(-1, 0, 100) == 0


def test_padding_is_the_identity_block_and_zeros() -> None:
    identity = tables.identity(COMMIT, 1)
    assert DEVICES.padding(1, 0, 3 * BLOCK_SIZE) == identity + bytes(2 * BLOCK_SIZE)
    assert DEVICES.padding(1, 100, 50) == identity[100:150]
    assert DEVICES.padding(1, BLOCK_SIZE, 10) == bytes(10)
    assert not DEVICES.pieces(1, 0, tables.PADDING)
    assert not DEVICES.pieces(1, PLANNED[1].size - tables.PADDING, tables.PADDING)


def test_a_device_without_segments_is_all_padding() -> None:
    empty = DataDevices(tables.plan(COMMIT, {}))
    assert not empty.pieces(0, 0, empty.sizes[0])
