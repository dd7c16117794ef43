"""What every store does with the rules of Datasets: whose chunks stay, and which are let in at all."""

from collections.abc import Mapping

import pytest
from tests.rigs.chunks import KIB, Opener, chunk, holds, put, put_blocks

from forebay_cache.model.ids import SegmentId
from forebay_cache.store.base import NOBODY, Payer, Store
from forebay_cache.store.ledger import Limits
from forebay_cache.store.policies.rules import Rules

SMALL = 1024 * KIB
BLOCKS = SMALL // 4096
ROOM = Limits(32 * SMALL + 700 * KIB, high_percent=100, low_percent=100)
"""32 chunks, also where each has a trailer."""
ONE, TWO = 1, 2


def govern(store: Store, pinned: bool = False, **rules: Rules) -> None:
    """Segment 1 is Dataset `one`'s, 2 is `two`'s."""
    names: Mapping[SegmentId, str] = {chunk(0, segment=ONE).segment: "one", chunk(0, segment=TWO).segment: "two"}

    def payer(segment: SegmentId) -> Payer:
        uid = names.get(segment, "")
        return Payer(uid, pinned) if uid in rules else NOBODY

    assert store.govern(rules, payer) == []
    cursor = -1
    while (cursor := store.recharge(cursor)) >= 0:
        pass


def one_by_one(store: Store, count: int, segment: int = ONE) -> int:
    return sum(bool(fill_one(store, number, segment)) for number in range(count))


def fill_one(store: Store, number: int, segment: int) -> bool:
    admitted = store.admits(chunk(number, segment=segment), SMALL, SMALL)
    if admitted:
        put(store, chunk(number, segment=segment), SMALL)
    return admitted


def here(store: Store, count: int, segment: int = ONE) -> list[int]:
    return [n for n in range(count) if holds(store, chunk(n, segment=segment), SMALL, 0, SMALL)]


def test_epoch_fills_once_and_lru_replaces(open_store: Opener) -> None:
    store = open_store(ROOM)
    govern(store, one=Rules("epoch"))
    assert one_by_one(store, 40) == len(here(store, 40)) == 32
    assert here(store, 40) == list(range(32))
    assert store.stats().evicted_chunks == 0
    govern(store, one=Rules("lru"))
    assert one_by_one(store, 40) == 40
    assert here(store, 40) == list(range(8, 40))


def test_chunks_that_are_here_are_charged_anew(open_store: Opener) -> None:
    store = open_store(ROOM)
    for number in range(5):
        put(store, chunk(number, segment=ONE), SMALL)
    put_blocks(store, chunk(0, segment=TWO), SMALL, (0, 16))
    assert store.charged() == {}
    govern(store, one=Rules(), two=Rules("lru"))
    found = store.charged()
    assert (found["one"].chunks, found["two"].chunks) == (5, 1)
    assert found["one"].bytes + found["two"].bytes == store.stats().used
    govern(store, two=Rules())
    assert (list(store.charged()), store.charged()["two"].chunks) == (["two"], 1)


def test_more_datasets_than_a_store_tells_apart_still_have_a_place(open_store: Opener) -> None:
    store = open_store(ROOM)
    rules = {f"d{n}": Rules() for n in range(1030)}
    left = store.govern(rules, lambda _: Payer("d1029"))
    assert "d1029" in left
    put(store, chunk(0), SMALL)
    assert store.recharge(-1) == -1
    assert store.govern({}, lambda _: NOBODY) == []
    assert store.recharge(-1) == -1
    assert store.govern({"d1029": Rules()}, lambda _: Payer("d1029")) == []
    assert store.recharge(-1) == -1
    assert store.charged()["d1029"].chunks == 1


def test_a_guarantee_holds_against_a_higher_priority(open_store: Opener) -> None:
    store = open_store(ROOM)
    govern(store, one=Rules("lru", guarantee=10 * (BLOCKS + 3)), two=Rules("lru", priority=200))
    one_by_one(store, 20, ONE)
    one_by_one(store, 60, TWO)
    assert 10 <= len(here(store, 20, ONE)) < 20  # to within a chunk of 8 MiB
    assert len(here(store, 60, TWO)) > 12
    govern(store, one=Rules("lru"), two=Rules("lru", priority=200))
    one_by_one(store, 60, TWO)
    assert here(store, 20, ONE) == []


def test_a_cap_is_paid_by_its_own(open_store: Opener) -> None:
    store = open_store(ROOM)
    govern(store, one=Rules("lru", cap=5 * (BLOCKS + 3)), two=Rules("lru"))
    one_by_one(store, 3, TWO)
    one_by_one(store, 20, ONE)
    assert here(store, 20, ONE) == list(range(15, 20))
    assert here(store, 3, TWO) == [0, 1, 2]


def test_what_is_pinned_stays_and_the_rest_is_read_past_the_store(open_store: Opener) -> None:
    store = open_store(ROOM)
    govern(store, pinned=True, one=Rules("lru", pin=True), two=Rules("lru", priority=1000))
    one_by_one(store, 40, ONE)
    assert len(here(store, 40, ONE)) == 32
    assert not store.admits(chunk(0, segment=TWO), SMALL, SMALL)


def test_a_chunk_that_is_being_filled_is_let_in(open_store: Opener) -> None:
    store = open_store(ROOM)
    govern(store, one=Rules("epoch"))
    one_by_one(store, 31)
    last = store.reserve(chunk(99, segment=ONE), SMALL)
    assert store.admits(chunk(99, segment=ONE), 4096, SMALL)
    assert not store.admits(chunk(98, segment=ONE), 4096, SMALL)
    last.close()


def test_what_nobody_reads_for_its_ttl_goes_with_the_sweep(open_store: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    store = open_store(ROOM)
    monkeypatch.setattr(store._ledger, "_now", lambda: clock[0])  # type: ignore[attr-defined]
    govern(store, one=Rules("lru", ttl_s=60), two=Rules("lru"))
    one_by_one(store, 4, ONE)
    one_by_one(store, 2, TWO)
    clock[0] += 50
    store.touch(chunk(1, segment=ONE), SMALL)
    lease = store.lease(chunk(2, segment=ONE), 0, SMALL)
    clock[0] += 11
    assert store.sweep(-1) == -1
    assert lease is not None
    lease.close()
    assert here(store, 4, ONE) == [1, 2]  # 2 was being read
    assert here(store, 2, TWO) == [0, 1]


def test_the_sweep_sheds_what_is_too_much_whoever_has_it(open_store: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(ROOM)
    govern(store, one=Rules("epoch", guarantee=40 * BLOCKS))
    one_by_one(store, 32)
    monkeypatch.setattr(store._ledger, "capacity", 10 * (BLOCKS + 3))  # type: ignore[attr-defined]
    store.sweep(-1)
    assert len(here(store, 32)) == 10
