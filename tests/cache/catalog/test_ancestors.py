"""The file that says where a merged segment's bytes were before."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay_cache.catalog.ancestors import MOST, Ancestry, Draft
from forebay_cache.catalog.base import Ancestor
from forebay_cache.model.errors import CatalogCorrupt
from forebay_cache.model.ids import SegmentId

MERGED = SegmentId(b"M" * 32)
places = st.builds(
    Ancestor,
    st.sampled_from([SegmentId(bytes([n]) * 32) for n in range(5)]),
    st.integers(0, 1 << 31),
    st.integers(0, 1 << 40),
)


def encoded(rows: list[list[Ancestor]]) -> bytes:
    draft = Draft()
    for row in rows:
        draft.add(row)
    return draft.encode()


@given(st.lists(st.lists(places, max_size=MOST + 3), max_size=20))
def test_every_part_finds_its_places_the_newest_first(rows: list[list[Ancestor]]) -> None:
    found = Ancestry(MERGED, encoded(rows))
    assert [found.of(part) for part in range(len(rows))] == [row[:MOST] for row in rows]
    assert set(found.segments) == {one.segment for row in rows for one in row[:MOST]}
    assert found.of(len(rows)) == ()
    assert found.of(-1) == ()


def test_equal_parts_give_equal_files() -> None:
    row = [Ancestor(MERGED, 1, 4096)]
    assert encoded([row, []]) == encoded([row, []]) != encoded([[], row])


def test_any_byte_that_changed_is_found() -> None:
    data = encoded([[Ancestor(MERGED, 3, 8192)], [Ancestor(SegmentId(b"N" * 32), 0, 0)]])
    for at in (0, 56 - 1, 64, len(data) // 2, len(data) - 1):
        bad = bytearray(data)
        bad[at] ^= 1
        with pytest.raises(CatalogCorrupt):
            Ancestry(MERGED, bytes(bad))
    for length in (0, 10, 63, len(data) - 1):
        with pytest.raises(CatalogCorrupt):
            Ancestry(MERGED, data[:length])
