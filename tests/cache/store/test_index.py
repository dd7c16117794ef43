import random

import pytest
from tests.rigs.chunks import chunk

from forebay_cache.model.ids import ChunkId, SegmentId
from forebay_cache.store.index import Index


@pytest.mark.parametrize("seed", range(3))
def test_random_steps_agree_with_a_dictionary(seed: int) -> None:
    print("seed", seed)
    rng = random.Random(seed)
    index, model = Index(), dict[ChunkId, int]()
    # few hash homes, so that runs of the table grow long and wrap around
    names = [ChunkId(SegmentId(bytes([rng.randrange(4)]) * 32), number) for number in range(3000)]
    for _ in range(20_000):
        name = rng.choice(names)
        if name not in model:
            model[name] = index.add(name)
        elif rng.random() < 0.6:
            index.remove(model.pop(name))
        assert index.find(name) == model.get(name, -1)
    assert len(index) == len(model)
    assert {name: index.find(name) for name in names if index.find(name) >= 0} == model
    assert sorted(index.in_use()) == sorted(model.values())
    assert all(index.chunk(row) == name and index.segment(row) == name.segment for name, row in model.items())
    assert index.rows <= 3000


def test_rows_are_dense_and_used_again() -> None:
    index = Index()
    assert [index.add(chunk(number)) for number in range(5)] == [0, 1, 2, 3, 4]
    index.remove(2)
    assert index.find(chunk(2)) == -1
    assert index.add(chunk(9)) == 2
    assert index.rows == 5


def test_a_run_that_wraps_around_survives_removal() -> None:
    """Homes at the very end of the table, so that the run goes on at its start."""
    end = SegmentId((2**64 - 1).to_bytes(8, "little") + bytes(24))
    names = [ChunkId(SegmentId(end[:8] + bytes([n]) * 24), 0) for n in range(6)]
    index = Index()
    rows = [index.add(name) for name in names]
    index.remove(rows[0])
    index.remove(rows[3])
    assert [index.find(name) for name in names] == [-1, rows[1], rows[2], -1, rows[4], rows[5]]


def test_numbers_beyond_32_bits_are_apart() -> None:
    index = Index()
    rows = [index.add(chunk(number)) for number in (0, 2**32, 2**33, 2**63)]
    assert len(set(rows)) == 4
    assert index.chunk(rows[3]).number == 2**63
