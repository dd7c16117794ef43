"""Reading back what is stored."""

from tests.rigs.chunks import KIB, chunk, holds, put, put_blocks

from forebay_cache.store.base import Store

LENGTH = 300 * KIB


def test_every_complete_chunk_is_read_back_once(store: Store) -> None:
    for number in range(20):
        put(store, chunk(number), LENGTH)
    put_blocks(store, chunk(20), LENGTH, (0, 3))
    fill = store.reserve(chunk(5), LENGTH)
    store.evict(chunk(9))
    cursor, seen = -1, []
    while found := store.scrub(cursor):
        assert found.good
        assert found.size == LENGTH
        assert found.cursor > cursor
        cursor = found.cursor
        seen.append(found.chunk)
    fill.close()
    assert sorted(seen) == sorted(chunk(number) for number in range(20) if number not in (5, 9))


def test_an_empty_store_has_nothing_to_read_back(store: Store) -> None:
    assert store.scrub(-1) is None
    assert store.scrub(1000) is None


def test_what_is_read_back_stays(store: Store) -> None:
    put(store, chunk(0), LENGTH)
    assert store.scrub(-1) is not None
    assert holds(store, chunk(0), LENGTH, 0, LENGTH)
