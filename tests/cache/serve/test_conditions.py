from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay_cache.catalog.base import Entry
from forebay_cache.model.errors import RangeNotSatisfiable
from forebay_cache.model.ids import Extent, SegmentId
from forebay_cache.serve.conditions import Verdict, evaluate, parse_range, range_applies

MTIME_S = 1_700_000_000
ENTRY = Entry(b"k", 10, MTIME_S * 1000 + 999, "tag", Extent(SegmentId(bytes(32)), 0, 10))
BEFORE, SAME, AFTER = (formatdate(MTIME_S + delta, usegmt=True).encode() for delta in (-1, 0, 1))


@given(size=st.integers(0, 300), first=st.integers(0, 400), last=st.integers(0, 400))
def test_a_range_is_what_slicing_gives(size: int, first: int, last: int) -> None:
    data = bytes(index % 251 for index in range(size))
    if last < first:
        assert parse_range(b"bytes=%d-%d" % (first, last), size) is None or first >= size
        return
    try:
        start, stop = parse_range(b"bytes=%d-%d" % (first, last), size) or (-1, -1)
    except RangeNotSatisfiable:
        assert data[first : last + 1] == b""
        return
    assert data[start:stop] == data[first : last + 1] != b""


@given(size=st.integers(0, 300), count=st.integers(0, 400))
def test_a_suffix_is_the_end(size: int, count: int) -> None:
    data = bytes(index % 251 for index in range(size))
    try:
        start, stop = parse_range(b"bytes=-%d" % count, size) or (-1, -1)
    except RangeNotSatisfiable:
        assert not size or not count
        return
    assert data[start:stop] == data[-count:]


@given(size=st.integers(0, 300), first=st.integers(0, 400))
def test_an_open_range_goes_to_the_end(size: int, first: int) -> None:
    try:
        assert parse_range(b"bytes=%d-" % first, size) == (first, size)
    except RangeNotSatisfiable:
        assert first >= size


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"bytes",
        b"bytes=",
        b"bytes=-",
        b"bytes=a-b",
        b"bytes=0-1,3-4",
        b"items=0-1",
        b"bytes=1--2",
        b"bytes=5-2",
        b"bytes=0-1\xff",
    ],
)
def test_what_is_no_single_range_is_ignored(value: bytes) -> None:
    assert parse_range(value, 10) is None


@given(st.binary(max_size=40))
def test_no_range_breaks_the_parser(value: bytes) -> None:
    try:
        found = parse_range(value, 10)
    except RangeNotSatisfiable:
        return
    assert found is None or 0 <= found[0] < found[1] <= 10


@pytest.mark.parametrize(
    ("headers", "verdict"),
    [
        ({}, Verdict.SEND),
        ({b"if-match": b'"tag"'}, Verdict.SEND),
        ({b"if-match": b"tag"}, Verdict.SEND),
        ({b"if-match": b"*"}, Verdict.SEND),
        ({b"if-match": b'"x", "tag"'}, Verdict.SEND),
        ({b"if-match": b'"x"'}, Verdict.FAILED),
        ({b"if-none-match": b'"tag"'}, Verdict.NOT_MODIFIED),
        ({b"if-none-match": b'W/"tag"'}, Verdict.NOT_MODIFIED),
        ({b"if-none-match": b"*"}, Verdict.NOT_MODIFIED),
        ({b"if-none-match": b'"x"'}, Verdict.SEND),
        ({b"if-modified-since": BEFORE}, Verdict.SEND),
        ({b"if-modified-since": SAME}, Verdict.NOT_MODIFIED),
        ({b"if-modified-since": AFTER}, Verdict.NOT_MODIFIED),
        ({b"if-modified-since": b"yesterday"}, Verdict.SEND),
        ({b"if-unmodified-since": BEFORE}, Verdict.FAILED),
        ({b"if-unmodified-since": SAME}, Verdict.SEND),
        ({b"if-unmodified-since": b"\xff"}, Verdict.SEND),
        # the tag outweighs the date (RFC 9110, 13.2.2)
        ({b"if-match": b'"tag"', b"if-unmodified-since": BEFORE}, Verdict.SEND),
        ({b"if-none-match": b'"x"', b"if-modified-since": AFTER}, Verdict.SEND),
        ({b"if-match": b'"x"', b"if-none-match": b'"tag"'}, Verdict.FAILED),
    ],
)
def test_conditions(headers: dict[bytes, bytes], verdict: Verdict) -> None:
    assert evaluate(headers, ENTRY) is verdict


@pytest.mark.parametrize(
    ("value", "applies"),
    [
        (None, True),
        (b'"tag"', True),
        (b'"x"', False),
        (b'W/"tag"', False),
        (SAME, True),
        (BEFORE, False),
        (b"?", False),
    ],
)
def test_if_range(value: bytes | None, applies: bool) -> None:
    assert range_applies({b"if-range": value} if value else {}, ENTRY) is applies
