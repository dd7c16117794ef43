"""Random steps against a dictionary, and many threads at once; every byte is checked."""

import random
import threading

import pytest
from tests.rigs.chunks import KIB, Opener, chunk, content, holds, write

from forebay_cache.model.errors import StoreFull
from forebay_cache.model.ids import BLOCK_SIZE
from forebay_cache.store.base import Fill, Store
from forebay_cache.store.ledger import Limits

LENGTHS = [BLOCK_SIZE, 64 * KIB, 256 * KIB, 1024 * KIB]


class Model:
    """What may be in a store: blocks that were written. The store may have evicted a chunk that is not being filled."""

    def __init__(self, store: Store, rng: random.Random) -> None:
        self.store, self.rng = store, rng
        self.blocks: dict[int, set[int]] = {}
        self.fills: dict[int, Fill] = {}

    def length(self, number: int) -> int:
        return LENGTHS[number % len(LENGTHS)]

    def reserve(self, number: int) -> None:
        if number in self.fills:
            with pytest.raises(RuntimeError):
                self.store.reserve(chunk(number), self.length(number))
            return
        fill = self.store.reserve(chunk(number), self.length(number))
        self.fills[number] = fill
        absent = {b // BLOCK_SIZE for a, z in fill.missing(0, self.length(number)) for b in range(a, z, BLOCK_SIZE)}
        present = set(range(self.length(number) // BLOCK_SIZE)) - absent
        assert present in (set(), self.blocks.get(number, set()))  # all that was there, or evicted
        self.blocks[number] = present

    def write(self, number: int) -> None:
        if number in self.fills:
            count = self.length(number) // BLOCK_SIZE
            first = self.rng.randrange(count)
            last = self.rng.randint(first + 1, count)
            write(self.fills[number], chunk(number), self.length(number), first, last)
            self.blocks[number] |= set(range(first, last))

    def close(self, number: int) -> None:
        fill = self.fills.pop(number, None)
        if fill is not None:
            if not fill.missing(0, self.length(number)):
                fill.complete()
            fill.close()

    def evict(self, number: int) -> None:
        if self.store.evict(chunk(number)):
            assert number not in self.fills
            self.blocks.pop(number, None)

    def look(self, number: int) -> None:
        start = self.rng.randrange(self.length(number))
        stop = self.rng.randint(start + 1, self.length(number))
        here = holds(self.store, chunk(number), self.length(number), start, stop)
        wanted = set(range(start // BLOCK_SIZE, -(-stop // BLOCK_SIZE)))
        known = wanted <= self.blocks.get(number, set())
        assert known if here else number not in self.fills or not known
        self.store.touch(chunk(number), stop - start)


@pytest.mark.parametrize("seed", range(4))
def test_random_steps_agree_with_a_dictionary(open_store: Opener, seed: int) -> None:
    print("seed", seed)
    rng = random.Random(seed)
    model = Model(open_store(Limits(24 << 20, open_files=4)), rng)
    steps = [model.reserve, model.write, model.write, model.look, model.look, model.close, model.evict]
    for number in range(1500):
        step = rng.choice(steps)
        if step == model.reserve and len(model.fills) >= 6:
            step = model.close
        step(rng.randrange(60))
        if number % 300 == 0:
            assert model.store.check() == []
    for number in list(model.fills):
        model.close(number)
    assert model.store.check() == []


def test_threads_fill_read_and_evict_side_by_side(open_store: Opener) -> None:
    store = open_store(Limits(24 << 20, open_files=3))
    failures: list[BaseException] = []
    owned = threading.Lock()
    taken: set[int] = set()

    def fill_one(rng: random.Random) -> None:
        number = rng.randrange(40)
        with owned:
            if number in taken:
                return
            taken.add(number)
        try:
            fill_whole(store, number, rng)
        except StoreFull:
            pass
        finally:
            with owned:
                taken.remove(number)

    def run(seed: int) -> None:
        rng = random.Random(seed)
        try:
            for _ in range(120):
                number = rng.randrange(40)
                if rng.random() < 0.35:
                    fill_one(rng)
                else:
                    look(store, number, rng)
                if rng.random() < 0.1:
                    store.evict(chunk(number))
        except BaseException as exc:  # noqa: BLE001 - told by the test's own thread
            failures.append(exc)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures, failures
    assert store.check() == []


def fill_whole(store: Store, number: int, rng: random.Random) -> None:
    """In pieces by two threads, as two parts of a chunk come from the origin."""
    name, length = chunk(number), LENGTHS[number % len(LENGTHS)]
    fill = store.reserve(name, length)
    try:
        half = length // BLOCK_SIZE // 2
        other = threading.Thread(target=lambda: half and write(fill, name, length, 0, half))
        other.start()
        write(fill, name, length, half, length // BLOCK_SIZE)
        other.join(60)
        if rng.random() < 0.8:
            assert not fill.missing(0, length)
            fill.complete()
        lease = fill.lease()
        lease.close()
    finally:
        fill.close()


def look(store: Store, number: int, rng: random.Random) -> None:
    length = LENGTHS[number % len(LENGTHS)]
    start = rng.randrange(length)
    holds(store, chunk(number), length, start, rng.randint(start + 1, length))
    store.touch(chunk(number), length)


def test_contents_differ_from_chunk_to_chunk() -> None:
    """Else the checks above could not fail."""
    assert len({content(chunk(number), BLOCK_SIZE) for number in range(60)}) == 60
