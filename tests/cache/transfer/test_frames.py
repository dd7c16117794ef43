"""Frames come back as they were, and nothing that comes is taken for what it is not."""

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from forebay_cache.model.errors import MemberBadFrame
from forebay_cache.model.ids import BLOCK_SIZE, CHUNK_SIZE, ChunkId, SegmentId
from forebay_cache.model.ranges import Span
from forebay_cache.transfer import frames
from forebay_cache.transfer.base import (
    ASK_BYTES_LIMIT,
    FILE_LIMITS,
    RUN_LIMIT,
    SPANS_LIMIT,
    Absent,
    Ask,
    Busy,
    FileName,
    Folder,
    Other,
    Reason,
    Refused,
    WrongEpoch,
)

BLOCKS = CHUNK_SIZE // BLOCK_SIZE


@st.composite
def spans(draw: st.DrawFn) -> Span:
    first = draw(st.integers(0, BLOCKS - 1))
    last = draw(st.integers(first + 1, min(BLOCKS, first + 8)))
    name = ChunkId(SegmentId(draw(st.binary(min_size=32, max_size=32))), draw(st.integers(0, 2**32 - 1)))
    return Span(name, first * BLOCK_SIZE, last * BLOCK_SIZE)


asks = st.builds(
    Ask,
    st.lists(spans(), min_size=1, max_size=SPANS_LIMIT).map(tuple),
    st.integers(0, 2**64 - 1),
    st.booleans(),
    st.integers(0, 100_000).map(lambda ms: ms / 1000),
)
indexes = st.integers(0, 2**16 - 1)
others: st.SearchStrategy[Other] = st.one_of(
    st.builds(Absent, indexes),
    st.builds(Busy, indexes, st.integers(0, 100_000).map(lambda ms: ms / 1000)),
    st.builds(WrongEpoch, indexes, st.integers(0, 2**64 - 1)),
    st.builds(Refused, indexes, st.sampled_from(Reason), st.text("abcü", max_size=200)),
)


@given(asks)
def test_an_ask_comes_back_as_it_was(ask: Ask) -> None:
    data = frames.put_ask(ask)
    assert frames.take_header(data[:8]) == (frames.K_ASK, len(data) - 8)
    assert frames.take_ask(data[8:]) == ask


@given(others)
def test_an_answer_comes_back_as_it_was(answer: Other) -> None:
    data = frames.put_other(answer)
    kind, length = frames.take_header(data[:8])
    assert length == len(data) - 8
    assert frames.take_other(kind, data[8:]) == answer


@given(indexes, st.integers(0, BLOCKS - 1), st.integers(1, 256))
def test_a_frame_of_bytes_comes_back_as_it_was(index: int, first: int, count: int) -> None:
    place = frames.Place(index, first * BLOCK_SIZE, min(first + count, BLOCKS) * BLOCK_SIZE)
    sums = bytes(place.sums_size)
    data = frames.put_bytes(place, sums)
    kind, length = frames.take_header(data[:8])
    assert kind == frames.K_BYTES
    assert length == len(data) - 8 + place.stop - place.start <= frames.BYTES_LIMIT
    assert frames.take_place(data[8:], length) == place


@given(st.binary(min_size=8, max_size=8))
@example(struct.pack("<HHI", frames.K_ASK, frames.VERSION, 2**32 - 1))
@example(struct.pack("<HHI", frames.K_ASK, 2, 20))
@example(struct.pack("<HHI", 99, frames.VERSION, 0))
def test_no_header_promises_more_than_its_kind_may_have(data: bytes) -> None:
    try:
        kind, length = frames.take_header(data)
    except MemberBadFrame:
        return
    assert length <= {frames.K_BYTES: frames.BYTES_LIMIT, frames.K_ASK: frames.ASK_LIMIT}.get(kind, 1024)


@given(st.binary(max_size=200))
def test_noise_is_an_ask_within_the_limits_or_refused(data: bytes) -> None:
    try:
        ask = frames.take_ask(data)
    except MemberBadFrame:
        return
    assert 0 < len(ask.spans) <= SPANS_LIMIT
    assert sum(span.length for span in ask.spans) <= ASK_BYTES_LIMIT


@given(st.integers(0, 20), st.binary(max_size=600))
def test_noise_is_an_answer_or_refused(kind: int, data: bytes) -> None:
    try:
        assert isinstance(frames.take_other(kind, data), Absent | Busy | WrongEpoch | Refused)
    except MemberBadFrame:
        return


@given(st.binary(max_size=40), st.integers(0, 2**32 - 1))
def test_noise_is_a_place_within_a_chunk_or_refused(data: bytes, length: int) -> None:
    try:
        place = frames.take_place(data, length)
    except MemberBadFrame:
        return
    assert 0 <= place.start < place.stop <= CHUNK_SIZE


@given(asks, st.data())
def test_a_changed_ask_never_crashes(ask: Ask, data: st.DataObject) -> None:
    body = bytearray(frames.put_ask(ask)[8:])
    body[data.draw(st.integers(0, len(body) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        frames.take_ask(body[: data.draw(st.integers(0, len(body)))])
    except MemberBadFrame:
        return


def span(number: int, start: int, stop: int) -> Span:
    return Span(ChunkId(SegmentId(bytes(32)), number), start, stop)


@pytest.mark.parametrize(
    "wanted",
    [
        (),
        (span(0, 0, 4096),) * (SPANS_LIMIT + 1),
        (span(0, 0, CHUNK_SIZE), span(1, 0, 4096)),
        (span(0, 1, 4096),),
        (span(0, 0, 4095),),
        (span(0, 4096, 4096),),
        (span(0, 0, CHUNK_SIZE + 4096),),
    ],
)
def test_an_ask_beyond_the_limits_is_not_sent(wanted: tuple[Span, ...]) -> None:
    with pytest.raises(ValueError, match=r"ask of|whole blocks"):
        frames.put_ask(Ask(wanted, 1))


def test_a_deadline_beyond_what_a_frame_holds_is_the_longest() -> None:
    assert (
        frames.take_ask(frames.put_ask(Ask((span(0, 0, 4096),), 1, deadline_s=1e12))[8:]).deadline_s
        == (2**32 - 1) / 1000
    )


def test_a_long_message_is_cut() -> None:
    data = frames.put_other(Refused(0, Reason.FAILED, "x" * 10_000))
    assert frames.take_header(data[:8])[1] == len(data) - 8 < 600


def test_a_reason_of_a_newer_version_is_a_failure() -> None:
    assert frames.take_other(frames.K_REFUSED, struct.pack("<HH", 4, 77) + b"new") == Refused(4, Reason.FAILED, "new")


names = st.builds(FileName, st.sampled_from(Folder), st.binary(min_size=32, max_size=32))


@given(names, st.integers(0, 1_000_000))
def test_an_ask_for_a_file_comes_back_as_it_was(name: FileName, deadline_ms: int) -> None:
    data = frames.put_ask_file(name, deadline_ms / 1000)
    assert frames.take_header(data[:8]) == (frames.K_ASK_FILE, len(data) - 8)
    assert frames.take_ask_file(data[8:]) == (name, deadline_ms / 1000)


@given(st.binary(max_size=80))
def test_noise_is_no_ask_for_a_file_but_one_of_a_known_folder(body: bytes) -> None:
    try:
        name, _ = frames.take_ask_file(body)
    except MemberBadFrame:
        return
    assert len(name.id) == 32
    assert name.folder in Folder


@pytest.mark.parametrize("wrong", [b"", bytes(31), bytes(33), b"../../../../etc/passwd"])
def test_a_name_that_is_no_id_is_not_asked_for(wrong: bytes) -> None:
    with pytest.raises(ValueError, match="takes 32"):
        frames.put_ask_file(FileName(Folder.LEAVES, wrong), 1.0)


@given(st.sampled_from(Folder), st.integers(0, 1 << 30), st.binary(min_size=1, max_size=50), st.integers(0, 1 << 30))
def test_a_frame_of_a_file_comes_back_as_it_was(folder: Folder, start: int, data: bytes, rest: int) -> None:
    size = min(start + len(data) + rest, FILE_LIMITS[folder])
    start = min(start, size - len(data))
    sent = frames.put_file(start, start + len(data), size) + data
    assert frames.take_header(sent[:8]) == (frames.K_FILE, len(sent) - 8)
    found = frames.take_file(folder, memoryview(sent)[8:])
    assert (found.start, found.size, bytes(found.data)) == (start, size, data)


@given(st.sampled_from(Folder), st.binary(max_size=64))
@example(Folder.COMMITS, struct.pack("<QQ", 2**64 - 1, 2**64 - 1) + b"x")
@example(Folder.COMMITS, struct.pack("<QQ", 0, FILE_LIMITS[Folder.COMMITS] + 1) + b"x")
@example(Folder.COMMITS, struct.pack("<QQ", 5, 5) + b"x")
@example(Folder.COMMITS, struct.pack("<QQ", 0, 5))
def test_noise_is_no_frame_of_a_file(folder: Folder, body: bytes) -> None:
    try:
        found = frames.take_file(folder, memoryview(body))
    except MemberBadFrame:
        return
    assert 0 <= found.start < found.start + len(found.data) <= found.size <= FILE_LIMITS[folder]


def test_a_frame_of_a_file_fits_the_buffer_of_bytes() -> None:
    assert 16 + RUN_LIMIT <= frames.BYTES_LIMIT
    with pytest.raises(MemberBadFrame):
        frames.take_header(struct.pack("<HHI", frames.K_FILE, frames.VERSION, RUN_LIMIT + 17))
