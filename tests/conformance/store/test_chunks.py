"""What every store does with a chunk: fill, lease, complete."""

import os
from contextlib import nullcontext

import pytest
from tests.rigs.chunks import KIB, chunk, content, holds, put, put_blocks, read, write

from forebay_cache.model.errors import StoreError
from forebay_cache.model.ids import BLOCK_SIZE, CHUNK_SIZE
from forebay_cache.store.base import Store

LENGTH = 64 * KIB


def test_an_unknown_chunk_has_no_lease(store: Store) -> None:
    assert store.lease(chunk(0), 0, 1) is None
    assert not store.evict(chunk(0))
    store.touch(chunk(0), LENGTH)


def test_written_blocks_can_be_leased_at_once(store: Store) -> None:
    fill = store.reserve(chunk(0), LENGTH)
    write(fill, chunk(0), LENGTH, 2, 5)
    assert holds(store, chunk(0), LENGTH, 2 * BLOCK_SIZE, 5 * BLOCK_SIZE)
    assert holds(store, chunk(0), LENGTH, 2 * BLOCK_SIZE + 7, 5 * BLOCK_SIZE - 9)
    assert not holds(store, chunk(0), LENGTH, 2 * BLOCK_SIZE - 1, 5 * BLOCK_SIZE)
    assert not holds(store, chunk(0), LENGTH, 2 * BLOCK_SIZE, 5 * BLOCK_SIZE + 1)
    fill.close()


def test_verified_bytes_are_those_that_are_here(store: Store) -> None:
    assert store.verified(chunk(0), 0, 1) is None
    put_blocks(store, chunk(0), LENGTH, (2, 5))
    start, stop = 2 * BLOCK_SIZE + 7, 5 * BLOCK_SIZE - 9
    assert store.verified(chunk(0), start, stop) == content(chunk(0), LENGTH)[start:stop]
    assert store.verified(chunk(0), start, 5 * BLOCK_SIZE + 1) is None
    put(store, chunk(0), LENGTH)
    assert store.verified(chunk(0), 0, LENGTH) == content(chunk(0), LENGTH)


def test_missing_names_the_gaps_in_whole_blocks(store: Store) -> None:
    fill = store.reserve(chunk(0), LENGTH)
    write(fill, chunk(0), LENGTH, 1, 3)
    write(fill, chunk(0), LENGTH, 8, 16)
    assert list(fill.missing(0, LENGTH)) == [(0, BLOCK_SIZE), (3 * BLOCK_SIZE, 8 * BLOCK_SIZE)]
    assert list(fill.missing(BLOCK_SIZE + 1, 3 * BLOCK_SIZE + 1)) == [(3 * BLOCK_SIZE, 4 * BLOCK_SIZE)]
    assert list(fill.missing(8 * BLOCK_SIZE, LENGTH)) == []
    fill.close()


@pytest.mark.parametrize("length", [BLOCK_SIZE, LENGTH, CHUNK_SIZE - BLOCK_SIZE, CHUNK_SIZE])
def test_a_complete_chunk_is_whole(store: Store, length: int) -> None:
    put(store, chunk(3), length)
    lease = store.lease(chunk(3), 0, length)
    assert lease is not None
    assert lease.whole
    assert read(lease, 0, length) == content(chunk(3), length)
    lease.close()
    assert (store.stats().chunks, store.stats().partial) == (1, 0)


def test_a_partial_chunk_is_not_whole_and_stays_after_its_fill(store: Store) -> None:
    put_blocks(store, chunk(0), LENGTH, (0, 4))
    lease = store.lease(chunk(0), 0, BLOCK_SIZE)
    assert lease is not None
    assert not lease.whole
    lease.close()
    assert (store.stats().chunks, store.stats().partial) == (0, 1)


def test_a_later_fill_finds_what_an_earlier_one_left(store: Store) -> None:
    put_blocks(store, chunk(0), LENGTH, (0, 4), (6, 7))
    fill = store.reserve(chunk(0), LENGTH)
    assert list(fill.missing(0, LENGTH)) == [(4 * BLOCK_SIZE, 6 * BLOCK_SIZE), (7 * BLOCK_SIZE, LENGTH)]
    fill.close()
    put(store, chunk(0), LENGTH)
    assert holds(store, chunk(0), LENGTH, 0, LENGTH)


def test_a_chunk_with_gaps_cannot_be_completed(store: Store) -> None:
    fill = store.reserve(chunk(0), LENGTH)
    write(fill, chunk(0), LENGTH, 0, 15)
    with pytest.raises(StoreError, match="not complete"):
        fill.complete()
    write(fill, chunk(0), LENGTH, 15, 16)
    fill.complete()
    fill.complete()
    fill.close()
    fill.close()
    assert holds(store, chunk(0), LENGTH, 0, LENGTH)


def gone_blocks(store: Store, *runs: tuple[int, int]) -> None:
    """A complete chunk 0 that lacks these blocks."""
    fill = store.reserve(chunk(0), LENGTH)
    for start, stop in fill.missing(0, LENGTH):
        for block in range(start // BLOCK_SIZE, stop // BLOCK_SIZE):
            if not any(first <= block < last for first, last in runs):
                write(fill, chunk(0), LENGTH, block, block + 1)
    fill.complete([(first * BLOCK_SIZE, last * BLOCK_SIZE) for first, last in runs])
    fill.close()


def test_what_is_gone_does_not_keep_a_chunk_from_being_complete_and_is_never_served(store: Store) -> None:
    gone_blocks(store, (2, 3), (7, 9))
    assert (store.stats().chunks, store.stats().partial) == (1, 0)
    for block in range(16):
        here = block not in (2, 7, 8)
        assert holds(store, chunk(0), LENGTH, block * BLOCK_SIZE, (block + 1) * BLOCK_SIZE) == here
    for start, stop in ((0, LENGTH), (2 * BLOCK_SIZE - 1, 2 * BLOCK_SIZE + 1), (9 * BLOCK_SIZE - 1, LENGTH)):
        assert store.lease(chunk(0), start, stop) is None
        assert store.verified(chunk(0), start, stop) is None
    lease = store.lease(chunk(0), 0, BLOCK_SIZE)
    assert lease
    assert not lease.whole  # who has it must not read the rest
    lease.close()
    assert store.verified(chunk(0), 1, 5) == content(chunk(0), LENGTH)[1:5]


def test_what_was_gone_may_come_back(store: Store) -> None:
    gone_blocks(store, (2, 3), (7, 9))
    for first, last, left in ((7, 8, 2), (2, 3, 1), (8, 9, 0)):
        fill = store.reserve(chunk(0), LENGTH)
        missing = list(fill.missing(0, LENGTH))
        write(fill, chunk(0), LENGTH, first, last)
        with pytest.raises(StoreError, match="not complete") if left else nullcontext():
            fill.complete()
        fill.complete(missing)
        assert len(fill.missing(0, LENGTH)) == left
        fill.close()
        assert holds(store, chunk(0), LENGTH, first * BLOCK_SIZE, last * BLOCK_SIZE)
    lease = store.lease(chunk(0), 0, LENGTH)
    assert lease
    assert lease.whole
    assert read(lease, 0, LENGTH) == content(chunk(0), LENGTH)
    lease.close()


def test_a_gap_that_is_not_gone_is_still_a_gap(store: Store) -> None:
    fill = store.reserve(chunk(0), LENGTH)
    write(fill, chunk(0), LENGTH, 0, 10)
    with pytest.raises(StoreError, match="not complete"):
        fill.complete([(11 * BLOCK_SIZE, LENGTH)])
    fill.close()
    assert store.stats().chunks == 0


def test_a_fill_serves_on_after_complete(store: Store) -> None:
    fill = store.reserve(chunk(0), LENGTH)
    early = fill.lease()
    write(fill, chunk(0), LENGTH, 0, 16)
    fill.complete()
    late = fill.lease()
    assert (early.whole, late.whole) == (False, True)
    assert list(fill.missing(0, LENGTH)) == []
    fill.write(0, content(chunk(0), LENGTH)[:BLOCK_SIZE])  # again, and it changes nothing
    assert read(early, 0, LENGTH) == read(late, 0, LENGTH) == content(chunk(0), LENGTH)
    for held in (early, late, fill):
        held.close()


def test_reserving_a_complete_chunk_gives_a_fill_with_nothing_missing(store: Store) -> None:
    put(store, chunk(0), LENGTH)
    fill = store.reserve(chunk(0), LENGTH)
    assert list(fill.missing(0, LENGTH)) == []
    lease = fill.lease()
    assert lease.whole
    lease.close()
    fill.complete()
    fill.close()
    assert holds(store, chunk(0), LENGTH, 0, LENGTH)


def test_one_fill_a_chunk_at_a_time(store: Store) -> None:
    fill = store.reserve(chunk(0), LENGTH)
    with pytest.raises(RuntimeError, match="filled already"):
        store.reserve(chunk(0), LENGTH)
    assert not store.evict(chunk(0))
    fill.close()
    store.reserve(chunk(0), LENGTH).close()


@pytest.mark.parametrize("length", [0, -BLOCK_SIZE, 1, BLOCK_SIZE + 1, CHUNK_SIZE + BLOCK_SIZE])
def test_a_chunk_has_whole_blocks_and_an_end(store: Store, length: int) -> None:
    with pytest.raises(ValueError, match="a chunk is 1 to 2048 blocks"):
        store.reserve(chunk(0), length)


def test_a_chunk_keeps_its_length(store: Store) -> None:
    put_blocks(store, chunk(0), LENGTH, (0, 1))
    with pytest.raises(ValueError, match="has 65536 bytes"):
        store.reserve(chunk(0), 2 * LENGTH)


@pytest.mark.parametrize(
    ("offset", "size"), [(1, 4096), (0, 100), (-4096, 4096), (LENGTH, 4096), (LENGTH - 4096, 8192)]
)
def test_writes_are_whole_blocks_of_the_chunk(store: Store, offset: int, size: int) -> None:
    fill = store.reserve(chunk(0), LENGTH)
    with pytest.raises(ValueError, match="whole blocks"):
        fill.write(offset, bytes(size))
    fill.close()


@pytest.mark.parametrize(("start", "stop"), [(0, LENGTH + 1), (-1, 5), (5, 5), (6, 5)])
def test_ranges_lie_within_the_chunk(store: Store, start: int, stop: int) -> None:
    put(store, chunk(0), LENGTH)
    with pytest.raises(ValueError, match="is not within"):
        store.lease(chunk(0), start, stop)


def test_a_closed_fill_takes_no_bytes(store: Store) -> None:
    fill = store.reserve(chunk(0), LENGTH)
    fill.close()
    with pytest.raises(StoreError, match="closed"):
        fill.write(0, bytes(BLOCK_SIZE))


def test_every_kind_of_buffer_is_taken(store: Store) -> None:
    data = content(chunk(0), 3 * BLOCK_SIZE)
    fill = store.reserve(chunk(0), 3 * BLOCK_SIZE)
    fill.write(0, bytearray(data[:BLOCK_SIZE]))
    fill.write(BLOCK_SIZE, memoryview(data)[BLOCK_SIZE : 2 * BLOCK_SIZE])
    fill.write(2 * BLOCK_SIZE, memoryview(data[2 * BLOCK_SIZE :]).cast("I"))
    fill.complete()
    fill.close()
    assert holds(store, chunk(0), 3 * BLOCK_SIZE, 0, 3 * BLOCK_SIZE)


def test_a_lease_cannot_write(store: Store) -> None:
    put(store, chunk(0), LENGTH)
    lease = store.lease(chunk(0), 0, LENGTH)
    assert lease is not None
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.pwrite(lease.fd, b"x", 0)
    lease.close()


def test_a_lease_outlives_eviction_and_the_store(store: Store) -> None:
    put(store, chunk(0), LENGTH)
    lease, other = store.lease(chunk(0), 0, LENGTH), store.lease(chunk(0), 0, 1)
    assert lease is not None
    assert other is not None
    assert store.evict(chunk(0))
    assert store.lease(chunk(0), 0, LENGTH) is None
    put(store, chunk(0), LENGTH)  # again, while the first is still held
    store.close()
    assert read(lease, 0, LENGTH) == content(chunk(0), LENGTH)
    lease.close()
    lease.close()
    assert read(other, 0, 1) == content(chunk(0), LENGTH)[:1]
    other.close()
