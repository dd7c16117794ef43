"""Data devices: a function of the commit, read back from a file."""

import random

import pytest

from forebay_cache.catalog import devices
from forebay_cache.model.errors import BadInput, CatalogCorrupt
from forebay_cache.model.ids import BLOCK_SIZE, CommitId, SegmentId

COMMIT = CommitId("ab" * 32)
TIB = 1 << 40


def sizes(count: int, largest: int, seed: int = 1) -> dict[SegmentId, int]:
    print("seed", seed)
    source = random.Random(seed)
    return {
        SegmentId(source.randbytes(32)): source.randrange(1, largest // BLOCK_SIZE) * BLOCK_SIZE for _ in range(count)
    }


@pytest.mark.parametrize(
    ("count", "largest"), [(0, 1 << 20), (1, 1 << 20), (3, 1 << 30), (500, 256 << 20), (60, 2 * TIB)]
)
def test_every_segment_lies_whole_on_one_device(count: int, largest: int) -> None:
    want = sizes(count, largest)
    planned = devices.plan(COMMIT, want)
    assert devices.LEAST <= len(planned) <= devices.MOST
    assert {p.segment: p.size for device in planned for p in device.placed} == want
    for device in planned:
        end = devices.PADDING
        for placed in device.placed:
            assert placed.offset == end
            assert placed.offset % BLOCK_SIZE == 0
            end += placed.size
        assert device.size == end + devices.PADDING <= devices.DEVICE_LIMIT


def test_the_plan_does_not_depend_on_the_order_of_segments() -> None:
    want = sizes(100, 1 << 30)
    other = dict(reversed(want.items()))
    assert devices.plan(COMMIT, want) == devices.plan(COMMIT, other)


def test_large_segments_that_would_overflow_a_device_get_more_devices() -> None:
    want = {SegmentId(bytes([n]) * 32): 8 * TIB for n in range(1, 9)}  # 64 TiB: two on each of five, not
    planned = devices.plan(COMMIT, want)
    assert len(planned) == 8
    assert max(device.size for device in planned) <= devices.DEVICE_LIMIT


@pytest.mark.parametrize("want", [{b"a" * 32: 17 * TIB}, {bytes([n]) * 32: 15 * TIB for n in range(24)}])
def test_more_than_the_devices_hold_is_refused_with_the_figures(want: dict[bytes, int]) -> None:
    with pytest.raises(BadInput, match=f"{sum(want.values())} bytes in {len(want)} segments"):
        devices.plan(COMMIT, {SegmentId(segment): size for segment, size in want.items()})


def test_the_table_comes_back_as_it_was() -> None:
    planned = devices.plan(COMMIT, sizes(300, 1 << 30))
    assert list(devices.decode(devices.encode(COMMIT, planned))) == list(planned)


def test_a_table_with_any_byte_changed_is_refused() -> None:
    data = devices.encode(COMMIT, devices.plan(COMMIT, sizes(5, 1 << 30)))
    head = range(80, 112)  # the checksum itself; before it: the name, which the reader compares
    for place in [*range(8), *head, *range(112, len(data), 5)]:
        bad = bytearray(data)
        bad[place] ^= 1
        with pytest.raises(CatalogCorrupt):
            devices.decode(bytes(bad))
    for length in range(0, len(data), 9):
        with pytest.raises(CatalogCorrupt):
            devices.decode(data[:length])


def test_every_offset_leads_to_its_segment_and_padding_to_none() -> None:
    planned = devices.plan(COMMIT, sizes(40, 1 << 24))
    for device in planned:
        for offset in (0, devices.PADDING - 1, device.size - devices.PADDING, device.size - 1):
            assert devices.locate(device, offset) is None
        for placed in device.placed:
            for offset in (placed.offset, placed.offset + placed.size - 1):
                assert devices.locate(device, offset) == placed


def test_no_two_devices_have_one_identity() -> None:
    blocks = {devices.identity(CommitId(c * 64), number) for c in "ab" for number in range(devices.MOST)}
    assert len(blocks) == 2 * devices.MOST
    assert {len(block) for block in blocks} == {BLOCK_SIZE}
