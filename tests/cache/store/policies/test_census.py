import random

import pytest
from tests.rigs.policies import mark

from forebay_cache.store.policies.census import Census


def rounds_of(epochs: list[list[int]], share: float = 1.0) -> list[int]:
    """The round after each epoch of misses."""
    census, rounds = Census(), []
    for epoch in epochs:
        for chunk in epoch:
            census.missed(mark(chunk), share)
        rounds.append(census.round)
    return rounds


def shuffled(size: int, epochs: int, seed: int = 1) -> list[list[int]]:
    rng = random.Random(seed)
    return [rng.sample(range(size), size) for _ in range(epochs)]


@pytest.mark.parametrize("size", [100, 1000, 30_000])
def test_a_round_of_one_job_is_one_to_two_epochs(size: int) -> None:
    rounds = rounds_of(shuffled(size, 8))
    assert rounds[0] == 0
    assert 3 <= rounds[-1] <= 7


def test_the_first_pass_over_anything_has_no_rounds() -> None:
    assert rounds_of([list(range(50_000))]) == [0]


@pytest.mark.parametrize("readers", [2, 8, 64])
def test_readers_in_step_make_no_more_rounds_than_one(readers: int) -> None:
    epochs = [[chunk for chunk in epoch for _ in range(readers)] for epoch in shuffled(1000, 6)]
    assert rounds_of(epochs) == rounds_of(shuffled(1000, 6))


def test_files_of_a_chunk_one_after_another_make_no_more_rounds() -> None:
    epochs = [[chunk for chunk in epoch for _ in range(80)] for epoch in shuffled(300, 6)]
    assert rounds_of(epochs, 1 / 80)[-1] <= 6


@pytest.mark.parametrize("jobs", [1, 3, 8])
@pytest.mark.parametrize("files", [1, 2, 80])
def test_a_whole_round_leaves_hardly_anything_unread(jobs: int, files: int) -> None:
    """Jobs begin at different phases, each shuffles by itself, files in random order."""
    size, rng = 1000, random.Random(jobs * 100 + files)
    census, read = Census(), set[int]()
    left: list[list[int]] = [[] for _ in range(jobs)]
    unread = []
    for step in range(size * files * 8):
        order = left[step % jobs]
        if not order:
            order += rng.sample(range(size * files), size * files)
            if step < jobs:
                del order[: rng.randrange(size * files)]
        chunk, before = order.pop() // files, census.round
        census.hit(1 / files, new=chunk not in read)
        read.add(chunk)
        if census.round != before:
            unread.append(1 - len(read) / size)
            read = set()
    print(jobs, files, unread)
    assert len(unread) >= 2
    assert max(unread[1:]) < 0.03


def test_reads_of_nothing_new_are_no_round_yet() -> None:
    census = Census()
    for _ in range(1000):
        census.hit(1.0, new=False)
    assert census.round == 0
