import random

import pytest

from forebay_cache.store.policies import LANES, POLICIES, Ranks


def test_lanes_keep_the_order_of_arrival() -> None:
    ranks = Ranks()
    for row in (3, 1, 2, 0):
        ranks.push(row, row % 2)
    assert list(ranks.oldest(1)) == [3, 1]
    assert list(ranks.oldest(0)) == [2, 0]
    assert not list(ranks.oldest(2))
    ranks.pull(3)
    assert (ranks.is_ranked(3), ranks.is_ranked(1)) == (False, True)
    assert list(ranks.oldest(1)) == [1]


def test_the_row_that_was_given_may_be_pulled() -> None:
    ranks = Ranks()
    for row in range(5):
        ranks.push(row, 0)
    for row in ranks.oldest(0):
        ranks.pull(row)
    assert not list(ranks.oldest(0))


@pytest.mark.parametrize("seed", range(3))
def test_lanes_agree_with_lists(seed: int) -> None:
    print("seed", seed)
    rng = random.Random(seed)
    ranks, model = Ranks(), [list[int]() for _ in range(LANES)]
    for _ in range(3000):
        row = rng.randrange(50)
        lane = next((n for n, rows in enumerate(model) if row in rows), None)
        if lane is not None:
            model[lane].remove(row)
            ranks.pull(row)
        if lane is None or rng.random() < 0.7:
            lane = rng.randrange(LANES)
            model[lane].append(row)
            ranks.push(row, lane)
    assert [list(ranks.oldest(lane)) for lane in range(LANES)] == model


def test_lru_gives_up_what_was_read_longest_ago() -> None:
    policy, ranks = POLICIES["lru"], Ranks()
    for row in range(5):
        policy.added(ranks, row)
    for row in (0, 3, 0):
        policy.touched(ranks, row)
    assert list(policy.victims(ranks)) == [1, 2, 4, 3, 0]
