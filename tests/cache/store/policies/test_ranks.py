import random
import tracemalloc

import pytest
from tests.rigs.chunks import chunk

from forebay_cache.model.errors import ConfigError
from forebay_cache.store.policies import order
from forebay_cache.store.policies.base import Charge, mark_of
from forebay_cache.store.policies.ranks import GROUPS, LANES, WHOLE_CHUNK, Ranks
from forebay_cache.store.policies.rules import Rules


def ranks_for(rows: int) -> Ranks:
    ranks = Ranks(1000 * WHOLE_CHUNK, Rules("lru"))
    ranks.make(rows - 1)
    return ranks


def test_lanes_keep_the_order_of_arrival() -> None:
    ranks = ranks_for(4)
    for row in (3, 1, 2, 0):
        ranks.push(row, row % 2)
    assert list(ranks.oldest(1)) == [3, 1]
    assert list(ranks.newest(0)) == [0, 2]
    assert not list(ranks.oldest(2))
    ranks.pull(3)
    assert (ranks.is_ranked(3), ranks.is_ranked(1)) == (False, True)
    assert (ranks.first(1), ranks.first(2)) == (1, -1)


@pytest.mark.parametrize("way", ["oldest", "newest"])
def test_the_row_that_was_given_may_be_pulled(way: str) -> None:
    ranks = ranks_for(5)
    for row in range(5):
        ranks.push(row, 0)
    for row in getattr(ranks, way)(0):
        ranks.pull(row)
    assert not list(ranks.oldest(0))


@pytest.mark.parametrize("seed", range(3))
def test_lanes_agree_with_lists(seed: int) -> None:
    print("seed", seed)
    rng = random.Random(seed)
    lanes = [0, 1, LANES, GROUPS * LANES - 1]
    ranks, model = ranks_for(50), {lane: list[int]() for lane in lanes}
    for _ in range(3000):
        row = rng.randrange(50)
        lane = next((n for n, rows in model.items() if row in rows), None)
        if lane is not None:
            model[lane].remove(row)
            ranks.pull(row)
        if lane is None or rng.random() < 0.7:
            lane = rng.choice(lanes)
            model[lane].append(row)
            ranks.push(row, lane)
    for lane, rows in model.items():
        assert list(ranks.oldest(lane)) == rows
        assert list(ranks.newest(lane)) == rows[::-1]
        assert ranks.counts[lane] == len(rows)


def test_numbers_of_closed_groups_are_given_again() -> None:
    ranks = ranks_for(1)
    assert [ranks.open(Rules()) for _ in range(3)] == [1, 2, 3]
    ranks.close(2)
    assert ranks.open(Rules("epoch")) == 2
    assert ranks.group(2).rules.policy == "epoch"


def test_a_group_with_rows_is_not_closed() -> None:
    ranks = ranks_for(1)
    order.added(ranks, 0, Charge(ranks.open(Rules())), 1, 0)
    with pytest.raises(ValueError, match="still has rows"):
        ranks.close(1)


def test_there_is_a_limit_to_groups() -> None:
    ranks = ranks_for(1)
    for _ in range(GROUPS - 1):
        ranks.open(Rules())
    with pytest.raises(ConfigError, match="1024 Datasets"):
        ranks.open(Rules())


@pytest.mark.parametrize("policy", ["lru", "epoch", "s3fifo"])
def test_a_chunk_takes_thirty_five_bytes_of_memory(policy: str) -> None:
    """20 in arrays that grow by eighths, and 10 of ghost queue where it is used; index and ledger take 60 more."""
    count = 50_000
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    ranks = Ranks(count * WHOLE_CHUNK, Rules(policy))
    for row in range(count):
        order.added(ranks, row, Charge(), mark_of(chunk(row)), 0)
        order.resized(ranks, row, WHOLE_CHUNK)
    for row, _ in zip(order.victims(ranks, None, lambda _: False, 0), range(100), strict=False):
        order.removed(ranks, row, mark_of(chunk(row)))
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(policy, (after - before) / count)
    assert (after - before) / count < 35
