"""Properties of byte arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay_cache.model.ids import CHUNK_SIZE, Extent, SegmentId, chunk_length, round_up
from forebay_cache.model.ranges import slice_extent, spans

SEGMENT = SegmentId(bytes(32))
offsets = st.integers(0, 5 * CHUNK_SIZE)


@given(offsets, offsets)
def test_spans_cover_an_extent_without_gap_or_overlap(offset: int, length: int) -> None:
    at = offset
    for span in spans(Extent(SEGMENT, offset, length)):
        assert span.chunk.number * CHUNK_SIZE + span.start == at
        assert 0 <= span.start < span.stop <= CHUNK_SIZE
        at += span.length
    assert at == offset + length


@given(offsets, st.data())
def test_a_slice_of_an_extent_is_its_bytes(length: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, length))
    stop = data.draw(st.integers(start, length))
    assert slice_extent(Extent(SEGMENT, 4096, length), start, stop) == Extent(SEGMENT, 4096 + start, stop - start)


def test_a_slice_outside_of_the_file_is_refused() -> None:
    with pytest.raises(ValueError, match="not within 10 bytes"):
        slice_extent(Extent(SEGMENT, 0, 10), 5, 11)


def test_the_last_chunk_is_what_is_left() -> None:
    assert chunk_length(2 * CHUNK_SIZE + 4096, 2) == 4096
    assert chunk_length(2 * CHUNK_SIZE + 4096, 1) == CHUNK_SIZE
    assert round_up(4097, 4096) == 8192
