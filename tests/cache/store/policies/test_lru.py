from tests.rigs.policies import Simulation

from forebay_cache.store.policies import order


def test_gives_up_what_was_read_longest_ago() -> None:
    cache = Simulation(5)
    cache.run([0, 1, 2, 3, 4, 0, 3, 0])
    rows = order.victims(cache.ranks, None, lambda _: False, 0)
    assert [cache.chunks[row] for row in rows] == [1, 2, 4, 3, 0]


def test_skips_what_is_held() -> None:
    cache = Simulation(4)
    cache.run(range(4))
    rows = order.victims(cache.ranks, 0, lambda row: row % 2 == 0, 0)
    assert [cache.chunks[row] for row in rows] == [1, 3]
