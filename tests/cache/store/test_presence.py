import pathlib
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay_cache.model.errors import StoreFull
from forebay_cache.model.ids import BLOCK_SIZE
from forebay_cache.store.edge import Point, passed
from forebay_cache.store.presence import BITS_SIZE, Presence, has, mark, missing

ranges = st.tuples(st.integers(0, 2047), st.integers(1, 2048)).map(lambda pair: (pair[0], min(2048, sum(pair))))


@given(st.lists(ranges, max_size=12), ranges)
def test_bits_agree_with_a_set(marks: list[tuple[int, int]], asked: tuple[int, int]) -> None:
    bits, model = bytearray(BITS_SIZE), set[int]()
    for first, last in marks:
        mark(bits, first, last)
        model |= set(range(first, last))
    wanted = set(range(*asked))
    runs = missing(bits, *asked)
    assert has(bits, *asked) == (wanted <= model)
    assert [block for first, last in runs for block in range(first, last)] == sorted(wanted - model)
    assert all(before[1] < after[0] for before, after in pairwise(runs))  # runs are as long as can be
    assert int.from_bytes(bits, "little").bit_count() == len(model)


def test_bits_outlive_the_map(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "presence")
    first = Presence.open(path, 10, passed, fresh=True)
    slot = first.claim()
    mark(first.bits(slot), 3, 700)
    again = Presence.open(path, 10, passed, fresh=False)
    assert again.adopt(slot)
    assert missing(again.bits(slot), 0, 701) == [(0, 3), (700, 701)]
    mark(first.bits(slot), 0, 3)
    assert has(again.bits(slot), 0, 700)  # one memory, whoever maps it


def test_a_fresh_map_knows_nothing(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "presence")
    first = Presence.open(path, 3, passed, fresh=True)
    mark(first.bits(2), 0, 2048)
    fresh = Presence.open(path, 3, passed, fresh=True)
    assert bytes(fresh.bits(2)) == bytes(BITS_SIZE)


def test_a_map_grows_and_keeps_its_bits(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "presence")
    small = Presence.open(path, 2, passed, fresh=True)
    mark(small.bits(1), 5, 6)
    large = Presence.open(path, 50, passed, fresh=False)
    assert (large.slots, large.free) == (50, 50)
    assert missing(large.bits(1), 0, 8) == [(0, 5), (6, 8)]
    assert bytes(large.bits(49)) == bytes(BITS_SIZE)
    assert Presence.open(path, 2, passed, fresh=False).slots == 50  # and never shrinks


def test_the_map_has_no_holes(tmp_path: pathlib.Path) -> None:
    """Setting a bit in a hole would be SIGBUS on a full disk."""
    path = tmp_path / "presence"
    Presence.open(str(path), 1000, passed, fresh=True)
    assert path.stat().st_blocks * 512 >= BLOCK_SIZE + 1000 * BITS_SIZE


@pytest.mark.parametrize("damage", [b"", b"short", bytes(BLOCK_SIZE), b"x" * 300_000])
def test_a_file_that_is_no_map_becomes_one(tmp_path: pathlib.Path, damage: bytes) -> None:
    path = tmp_path / "presence"
    path.write_bytes(damage)
    presence = Presence.open(str(path), 5, passed, fresh=False)
    assert [bytes(presence.bits(slot)) for slot in range(5)] == [bytes(BITS_SIZE)] * 5


def test_the_header_comes_last(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "presence"

    def hook(point: Point) -> None:
        assert point is Point.LAY_PRESENCE
        assert path.stat().st_size == BLOCK_SIZE + 7 * BITS_SIZE
        assert path.read_bytes().strip(b"\0") == b""

    Presence.open(str(path), 7, hook, fresh=True)


def test_slots_are_given_clear_and_only_once(tmp_path: pathlib.Path) -> None:
    presence = Presence.open(str(tmp_path / "presence"), 4, passed, fresh=True)
    slots = {presence.claim() for _ in range(4)}
    assert slots == {0, 1, 2, 3}
    with pytest.raises(StoreFull, match="all 4 slots"):
        presence.claim()
    assert not presence.adopt(2)
    assert not presence.adopt(4)
    mark(presence.bits(2), 0, 2048)
    presence.release(2)
    assert presence.is_free(2)
    assert presence.claim() == 2
    assert bytes(presence.bits(2)) == bytes(BITS_SIZE)


def test_slots_random(tmp_path: pathlib.Path) -> None:
    seed = 5
    print("seed", seed)
    rng = random.Random(seed)
    presence = Presence.open(str(tmp_path / "presence"), 20, passed, fresh=True)
    taken: list[int] = []
    for _ in range(500):
        if taken and (rng.random() < 0.5 or len(taken) == 20):
            presence.release(taken.pop(rng.randrange(len(taken))))
        else:
            slot = presence.claim()
            assert slot not in taken
            taken.append(slot)
        assert presence.free == 20 - len(taken)
