import random

import pytest
from tests.rigs.policies import mark

from forebay_cache.store.policies.ghost import Ghost


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_a_list_while_it_is_roomy(seed: int) -> None:
    print("seed", seed)
    rng = random.Random(seed)
    ghost, model, limit = Ghost(2000), list[int](), 60
    for _ in range(5000):
        number = rng.randrange(150)
        if rng.random() < 0.5:
            ghost.add(mark(number))
            model = [n for n in model if n != number] + [number]
        else:
            assert ghost.take(mark(number), limit) == (number in model[-limit:]) or number in model
            model = [n for n in model if n != number]


def test_remembers_as_many_as_the_limit() -> None:
    ghost = Ghost(1000)
    for number in range(200):
        ghost.add(mark(number))
    assert not ghost.take(mark(99), 100)
    assert ghost.take(mark(100), 100)
    assert not ghost.take(mark(100), 100)
    assert ghost.take(mark(199), 1)


def test_a_full_ghost_forgets_few_early() -> None:
    ghost = Ghost(5000)
    for number in range(20_000):
        ghost.add(mark(number))
    known = sum(ghost.take(mark(number), 4500) for number in range(20_000))
    assert 0.93 * 4500 < known <= 4500


def test_one_entry_is_enough() -> None:
    ghost = Ghost(0)
    ghost.add(0)
    assert ghost.take(0, 1)
