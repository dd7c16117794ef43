"""What every store does about room: watermarks, order of eviction, what is held."""

import pytest
from tests.rigs.chunks import KIB, Opener, chunk, holds, put, put_blocks, read, write

from forebay_cache.model.errors import StoreFull
from forebay_cache.model.ids import CHUNK_SIZE, SegmentId
from forebay_cache.store.base import Store, Usage
from forebay_cache.store.layout import FILE_SIZE
from forebay_cache.store.ledger import Limits

SMALL = 1024 * KIB


def here(store: Store, count: int) -> list[int]:
    return [number for number in range(count) if holds(store, chunk(number), SMALL, 0, SMALL)]


def test_use_stays_below_the_capacity_and_the_oldest_go_first(open_store: Opener) -> None:
    store = open_store(Limits(32 * SMALL))
    for number in range(100):
        put(store, chunk(number), SMALL)
        assert store.stats().used <= 32 * SMALL * 90 // 100 + FILE_SIZE - CHUNK_SIZE
    kept = here(store, 100)
    assert 20 <= len(kept) <= 29
    assert kept == list(range(100 - len(kept), 100))
    assert store.stats().evicted_chunks == 100 - len(kept)
    assert store.stats().evicted_bytes >= (100 - len(kept)) * SMALL


def test_eviction_goes_on_from_the_high_to_the_low_mark(open_store: Opener) -> None:
    store = open_store(Limits(64 * SMALL, high_percent=90, low_percent=50))
    for number in range(57):
        put(store, chunk(number), SMALL)
    used = [store.stats().used]
    for number in range(57, 64):
        put(store, chunk(number), SMALL)
        used.append(store.stats().used)
    assert max(used) <= 64 * SMALL * 90 // 100
    assert min(used) <= 64 * SMALL * 51 // 100


def test_a_touched_chunk_stays(open_store: Opener) -> None:
    store = open_store(Limits(32 * SMALL))
    for number in range(60):
        put(store, chunk(number), SMALL)
        store.touch(chunk(0), SMALL)
    assert here(store, 60)[0] == 0


def test_has_room_says_what_fits_without_eviction(open_store: Opener) -> None:
    store = open_store(Limits(32 * SMALL, high_percent=50, low_percent=40))
    assert store.has_room(8 * SMALL)
    assert not store.has_room(17 * SMALL)
    for number in range(12):
        put(store, chunk(number), SMALL)
    assert not store.has_room(8 * SMALL)
    fill = store.reserve(chunk(90), 3 * SMALL)
    assert not store.has_room(2 * SMALL)  # promised to the fill, if not written yet
    fill.close()
    assert store.has_room(2 * SMALL)


def test_what_is_leased_or_filled_is_not_evicted(open_store: Opener) -> None:
    store = open_store(Limits(32 * SMALL))
    put(store, chunk(0), SMALL)
    lease = store.lease(chunk(0), 0, SMALL)
    fill = store.reserve(chunk(1), SMALL)
    write(fill, chunk(1), SMALL, 0, 4)
    for number in range(2, 60):
        put(store, chunk(number), SMALL)
    assert holds(store, chunk(0), SMALL, 0, SMALL)
    assert list(fill.missing(0, 16384)) == []
    fill.close()
    assert lease is not None
    lease.close()


def test_bytes_of_an_evicted_chunk_count_until_its_lease_is_closed(open_store: Opener) -> None:
    store = open_store(Limits(32 * SMALL))
    put(store, chunk(0), SMALL)
    lease = store.lease(chunk(0), 0, SMALL)
    used = store.stats().used
    assert store.evict(chunk(0))
    assert store.stats().used == used
    assert lease is not None
    assert len(read(lease, 0, SMALL)) == SMALL
    lease.close()
    assert store.stats().used == 0


def test_a_store_full_of_fills_refuses_another(open_store: Opener) -> None:
    store = open_store(Limits(4 * FILE_SIZE, high_percent=100, low_percent=100))
    fills = [store.reserve(chunk(number), CHUNK_SIZE) for number in range(4)]
    with pytest.raises(StoreFull, match="no room"):
        store.reserve(chunk(9), CHUNK_SIZE)
    assert store.lease(chunk(9), 0, 1) is None
    fills.pop().close()
    put(store, chunk(9), CHUNK_SIZE)
    for fill in fills:
        fill.close()


def test_usage_counts_the_chunks_of_some_segments(store: Store) -> None:
    for number in range(3):
        put(store, chunk(number, segment=1), SMALL)
        put(store, chunk(number, segment=2), SMALL)
    put_blocks(store, chunk(7, segment=3), SMALL, (0, 16))
    store.evict(chunk(0, segment=2))
    one, two, three = (SegmentId(n.to_bytes(32, "big")) for n in (1, 2, 3))
    assert store.usage([]) == Usage(0, 0)
    assert store.usage([one]).chunks == 3
    assert store.usage([two, three]).chunks == 3
    assert 3 * SMALL <= store.usage([one]).bytes <= 3 * (SMALL + 16 * KIB)
    assert 64 * KIB <= store.usage([three]).bytes <= 80 * KIB
    assert store.usage([one, two, three]).bytes == store.stats().used
