"""Hit ratios of shuffled epochs, with seeds: what was never replaced is hit once an epoch."""

import random
from collections.abc import Callable, Iterator

import pytest
from tests.rigs.policies import Simulation

from forebay_cache.store.policies import order
from forebay_cache.store.policies.base import Charge
from forebay_cache.store.policies.rules import Rules

SIZE = 1000


def shuffled(chunks: list[int], rng: random.Random) -> list[int]:
    return rng.sample(chunks, len(chunks))


@pytest.mark.parametrize("room", [10, 100, 500, 900])
@pytest.mark.parametrize("seed", [1, 2])
def test_an_epoch_hits_exactly_what_fits(room: int, seed: int) -> None:
    print("seed", seed)
    rng, cache = random.Random(seed), Simulation(room, "epoch")
    chunks = list(range(SIZE))
    cache.run(shuffled(chunks, rng))
    kept = set(cache.rows)
    for _ in range(8):
        assert cache.run(shuffled(chunks, rng)) == room / SIZE
        assert set(cache.rows) == kept


def test_lru_hits_far_less() -> None:
    """c + (1 - c) ln(1 - c) is 0.153 at c = 1/2."""
    rng, cache = random.Random(1), Simulation(SIZE // 2)
    ratios = [cache.run(shuffled(list(range(SIZE)), rng)) for _ in range(9)]
    assert sum(ratios[1:]) / 8 == pytest.approx(0.153, abs=0.01)


def small_files_at_random(chunks: list[int], rng: random.Random) -> list[int]:
    return shuffled([chunk for chunk in chunks for _ in range(80)], rng)


def small_files_by_shard(chunks: list[int], rng: random.Random) -> list[int]:
    return [chunk for chunk in shuffled(chunks, rng) for _ in range(80)]


def small_files_through_a_buffer(chunks: list[int], rng: random.Random) -> Iterator[int]:
    """Shards in random order, and a shuffle buffer of 2,000 files."""
    buffer: list[int] = []
    for file in small_files_by_shard(chunks, rng):
        buffer.append(file)
        if len(buffer) == 2000:
            at = rng.randrange(2000)
            buffer[at], buffer[-1] = buffer[-1], buffer[at]
            yield buffer.pop()
    yield from buffer


@pytest.mark.parametrize("read", [small_files_at_random, small_files_by_shard, small_files_through_a_buffer])
def test_packed_chunks_are_not_replaced_either(read: Callable[[list[int], random.Random], Iterator[int]]) -> None:
    rng, cache = random.Random(3), Simulation(100, "epoch")
    chunks = list(range(200))
    cache.run(read(chunks, rng), 1 / 80)
    kept = set(cache.rows)
    for _ in range(5):
        assert cache.run(read(chunks, rng), 1 / 80) == 0.5
    assert set(cache.rows) == kept


@pytest.mark.parametrize("jobs", [2, 5])
def test_jobs_at_different_phases_hit_what_fits(jobs: int) -> None:
    rng, cache = random.Random(4), Simulation(SIZE // 2, "epoch")
    left = [shuffled(list(range(SIZE)), rng)[: rng.randrange(SIZE)] for _ in range(jobs)]
    ratios = []
    for _ in range(8):
        hits = 0
        for step in range(SIZE * jobs):
            todo = left[step % jobs]
            if not todo:
                todo += shuffled(list(range(SIZE)), rng)
            hits += cache.read(todo.pop())
        ratios.append(hits / SIZE / jobs)
    print(ratios)
    assert all(abs(ratio - 0.5) < 0.03 for ratio in ratios[2:])
    assert sum(ratios[2:]) / 6 == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("share", [0.05, 0.3, 1.0])
def test_a_new_commit_takes_the_place_of_what_it_replaced(share: float) -> None:
    rng, cache = random.Random(5), Simulation(SIZE // 2, "epoch")
    chunks = list(range(SIZE))
    for _ in range(3):
        cache.run(shuffled(chunks, rng))
    chunks = [chunk + SIZE if rng.random() < share else chunk for chunk in chunks]
    ratios = [cache.run(shuffled(chunks, rng)) for _ in range(6)]
    print(ratios)
    assert ratios[0] == pytest.approx(0.5 * (1 - share), abs=0.03)
    assert ratios[-1] == 0.5


def test_a_job_that_stops_half_way_leaves_the_cache_to_the_next() -> None:
    """The next job reads another Dataset, of its own group and of the same priority."""
    rng, cache = random.Random(6), Simulation(500, Rules("epoch"))
    other = Charge(cache.ranks.open(Rules("epoch")))
    cache.run(shuffled(list(range(SIZE)), rng))
    cache.run(shuffled(list(range(SIZE)), rng)[: SIZE // 2])
    ratios = [cache.run(shuffled(list(range(SIZE, 2 * SIZE)), rng), charge=other) for _ in range(4)]
    print(ratios)
    assert ratios[-1] == 0.5
    assert (cache.held(0), cache.held(1)) == (0, 500)


def test_a_job_that_stops_and_starts_again_loses_nothing() -> None:
    rng, cache = random.Random(7), Simulation(500, "epoch")
    cache.run(shuffled(list(range(SIZE)), rng))
    for _ in range(6):
        cache.run(shuffled(list(range(SIZE)), rng)[: SIZE // 2])
        assert cache.run(shuffled(list(range(SIZE)), rng)) == 0.5


def test_two_datasets_share_the_room_and_then_replace_nothing() -> None:
    rng, cache = random.Random(8), Simulation(1000, Rules("epoch"))
    second = Charge(cache.ranks.open(Rules("epoch")))
    cache.run(shuffled(list(range(SIZE)), rng))
    for epoch in range(4):
        first, other = shuffled(list(range(SIZE)), rng), shuffled(list(range(SIZE, 2 * SIZE)), rng)
        hits = [0, 0]
        for a, b in zip(first, other, strict=True):
            hits[0] += cache.read(a)
            hits[1] += cache.read(b, charge=second)
        print(epoch, hits)
    assert cache.held(0) + cache.held(1) == 1000
    assert hits == [cache.held(0), cache.held(1)]
    assert abs(cache.held(0) - 500) <= 2


@pytest.mark.parametrize("policy", ["lru", "s3fifo"])
def test_a_mix_with_another_policy_settles_at_equal_shares(policy: str) -> None:
    rng, cache = random.Random(9), Simulation(600, Rules("epoch"))
    other = Charge(cache.ranks.open(Rules(policy)))
    for _ in range(5):
        hits = 0
        for chunk in shuffled(list(range(SIZE)), rng):
            hits += cache.read(chunk)
            cache.read(SIZE + rng.randrange(SIZE), charge=other)
    assert abs(cache.held(0) - 300) <= 2
    assert hits == cache.held(0)


def test_a_cache_that_grows_takes_more_in_and_one_that_shrinks_keeps_the_rest() -> None:
    rng, cache = random.Random(10), Simulation(300, "epoch")
    chunks = list(range(SIZE))
    cache.run(shuffled(chunks, rng))
    cache.resize(600)
    cache.run(shuffled(chunks, rng))
    assert cache.run(shuffled(chunks, rng)) == 0.6
    cache.resize(200)
    assert [cache.run(shuffled(chunks, rng)) for _ in range(4)] == [0.2] * 4


def test_what_must_go_is_what_was_read_last() -> None:
    cache = Simulation(4, "epoch")
    cache.run([3, 1, 2, 0])
    rows = order.victims(cache.ranks, None, lambda row: row == 1, 0)
    assert [cache.chunks[row] for row in rows] == [0, 2, 3]
    assert not list(order.victims(cache.ranks, 0, lambda _: False, 0))


def test_a_row_used_again_is_fresh() -> None:
    """What a row meant before says nothing of the chunk that has it now."""
    rng, cache = random.Random(11), Simulation(50, "epoch")
    for _ in range(6):
        cache.run(shuffled(list(range(100)), rng))
    for row in list(cache.chunks):
        cache.drop(row)
    cache.run(range(1000, 1050))
    assert not list(order.victims(cache.ranks, 0, lambda _: False, 0))


@pytest.mark.parametrize("known", [100, 500, 1000])
def test_what_was_here_before_the_first_read_counts_like_the_rest(known: int) -> None:
    """Prefetched, or found when the store was opened; read, replaced by a new commit, and then stale."""
    rng, cache = random.Random(12), Simulation(500, "epoch")
    for chunk in rng.sample(range(SIZE), known)[:500]:
        cache.put(chunk)
    for _ in range(4):
        cache.run(shuffled(list(range(SIZE)), rng))
    assert cache.run(shuffled(list(range(SIZE)), rng)) == 0.5
    for _ in range(4):
        cache.run(shuffled(list(range(SIZE, 2 * SIZE)), rng))
    assert cache.run(shuffled(list(range(SIZE, 2 * SIZE)), rng)) == 0.5


def test_a_dataset_that_fits_is_never_replaced_and_never_fails() -> None:
    cache = Simulation(500, "epoch")
    for chunk in range(500):
        cache.put(chunk)
    for _ in range(300):
        assert cache.run(range(500)) == 1.0
