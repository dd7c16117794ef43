"""Against a plain reference with lists, and against libcachesim."""

import random
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rigs.policies import Simulation

from forebay_cache.store.policies import order
from forebay_cache.store.policies.ranks import WHOLE_CHUNK, Ranks
from forebay_cache.store.policies.rules import Rules


class Plain:
    """Algorithm 1 of the paper, with lists: slow and obvious."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.small: list[int] = []
        self.main: list[int] = []
        self.ghost: list[int] = []
        self.hits: dict[int, int] = {}

    def read(self, chunk: int) -> bool:
        if chunk in self.small or chunk in self.main:
            self.hits[chunk] = min(self.hits[chunk] + 1, 3)
            return True
        while len(self.small) + len(self.main) >= self.room:
            self.evict()
        main_size = (len(self.small) + len(self.main)) * 9 // 10
        known = chunk in self.ghost[-main_size:] if main_size else False
        self.ghost = [ghost for ghost in self.ghost if ghost != chunk]
        (self.main if known else self.small).append(chunk)
        self.hits[chunk] = 0
        return False

    def evict(self) -> None:
        due = len(self.main) > (len(self.small) + len(self.main)) * 9 // 10
        if due or not self.small:
            chunk = self.main.pop(0)
            if self.hits[chunk]:
                self.hits[chunk] -= 1
                self.main.append(chunk)
            return
        chunk = self.small.pop(0)
        if self.hits[chunk] >= 2:
            self.hits[chunk] = 0
            self.main.append(chunk)
        else:
            self.ghost.append(chunk)


def roomy(room: int) -> Simulation:
    """A ghost queue that forgets nothing early, and fewer rows than one eviction may spare."""
    cache = Simulation(room)
    cache.ranks = Ranks(10_000 * WHOLE_CHUNK, Rules("s3fifo"))
    return cache


@given(st.integers(1, 30), st.lists(st.integers(0, 60), max_size=400))
def test_every_read_is_answered_as_by_the_plain_one(room: int, reads: list[int]) -> None:
    cache, plain = roomy(room), Plain(room)
    for chunk in reads:
        assert cache.read(chunk) == plain.read(chunk)
    assert set(cache.rows) == {*plain.small, *plain.main}


def zipf(count: int, alpha: float, seed: int, chunks: int = 5000) -> list[int]:
    weights = list(accumulate((rank + 1) ** -alpha for rank in range(chunks)))
    return random.Random(seed).choices(range(chunks), cum_weights=weights, k=count)


@pytest.mark.parametrize(
    ("alpha", "room", "ratio"),
    [
        (0.8, 50, 0.2583),
        (0.8, 500, 0.5060),
        (1.0, 50, 0.4687),
        (1.0, 500, 0.7037),
        (1.2, 50, 0.6846),
        (1.2, 500, 0.8575),
    ],
)
def test_zipf_traffic_hits_as_often_as_libcachesim(alpha: float, room: int, ratio: float) -> None:
    libcachesim = pytest.importorskip("libcachesim", reason="libcachesim is not installed: make setup")
    reads = zipf(40_000, alpha, seed=1)
    theirs, request, hits = libcachesim.S3FIFO(cache_size=room, hashpower=12), libcachesim.Request(), 0
    request.obj_size = 1
    for request.obj_id in reads:
        hits += theirs.get(request)
    ours = Simulation(room, "s3fifo").run(reads)
    print(ours, hits / len(reads))
    assert ours == pytest.approx(hits / len(reads), abs=0.01)
    assert ours == pytest.approx(ratio, abs=0.0005)


def test_one_scan_does_not_empty_the_main_queue() -> None:
    cache = Simulation(100, "s3fifo")
    for _ in range(5):
        cache.run(range(80))
    cache.run(range(1000, 3000))
    assert cache.run(range(80)) > 0.9


def test_what_is_held_is_passed_over_and_keeps_its_hits() -> None:
    cache = Simulation(20, "s3fifo")
    cache.run([*range(20), *range(10), *range(10), *range(10)])
    held = {cache.rows[chunk] for chunk in (10, 15)}
    given = [cache.chunks[row] for row in order.victims(cache.ranks, 0, lambda row: row in held, 0)]
    assert given[:8] == [11, 12, 13, 14, 16, 17, 18, 19]
    assert sorted(given[8:]) == list(range(10))


def test_nothing_is_given_while_all_is_held() -> None:
    cache = Simulation(20, "s3fifo")
    cache.run([*range(20), *range(20)])
    assert not list(order.victims(cache.ranks, 0, lambda _: True, 0))


def test_one_eviction_spares_a_bounded_number() -> None:
    cache = Simulation(5000, "s3fifo")
    cache.run([*range(5000)] * 4)
    asked = 0

    def is_held(_: int) -> bool:
        nonlocal asked
        asked += 1
        return False

    assert next(order.victims(cache.ranks, 0, is_held, 0)) >= 0
    assert asked <= 130


def test_what_was_given_and_not_evicted_goes_first_next_time_unless_it_was_read() -> None:
    cache = Simulation(10, "s3fifo")
    cache.run(range(10))
    victims = order.victims(cache.ranks, 0, lambda _: False, 0)
    given = [next(victims) for _ in range(3)]
    cache.read(cache.chunks[given[1]])
    again = [row for row, _ in zip(order.victims(cache.ranks, 0, lambda _: False, 0), range(2), strict=False)]
    assert again == [given[0], given[2]]
