from forebay_cache.model.ids import ChunkId, SegmentId
from forebay_cache.read.readahead import STREAMS_LIMIT, WINDOW_LIMIT, ReadAhead

A, B = SegmentId(b"a" * 32), SegmentId(b"b" * 32)


def numbers(ahead: ReadAhead, number: int, segment: SegmentId = A, chunks: int = 100) -> list[int]:
    return [chunk.number for chunk in ahead.note(ChunkId(segment, number), chunks)]


def test_a_single_read_fetches_nothing_ahead() -> None:
    assert numbers(ReadAhead(), 7) == []


def test_a_stream_is_fetched_further_and_further_ahead_and_nothing_twice() -> None:
    ahead = ReadAhead()
    asked = [number for at in range(20) for number in numbers(ahead, at)]
    assert asked == sorted(set(asked))
    assert asked[0] == 2
    assert asked[-1] == 19 + WINDOW_LIMIT


def test_reading_on_in_one_chunk_changes_nothing() -> None:
    ahead = ReadAhead()
    numbers(ahead, 0)
    numbers(ahead, 1)
    assert numbers(ahead, 1) == []
    assert numbers(ahead, 2) != []


def test_a_jump_ends_a_stream() -> None:
    ahead = ReadAhead()
    for at in range(4):
        numbers(ahead, at)
    assert numbers(ahead, 50) == []
    assert numbers(ahead, 51) == [52, 53]


def test_nothing_is_asked_beyond_the_end() -> None:
    ahead = ReadAhead()
    assert [number for at in range(4) for number in numbers(ahead, at, chunks=4)] == [2, 3]


def test_streams_are_apart_and_bounded() -> None:
    ahead = ReadAhead()
    numbers(ahead, 0, A)
    numbers(ahead, 0, B)
    assert numbers(ahead, 1, A) == [2, 3]
    for n in range(STREAMS_LIMIT):
        numbers(ahead, 0, SegmentId(n.to_bytes(32, "big")))
    assert numbers(ahead, 2, A) == []
