import tracemalloc

import pytest
from tests.rigs.chunks import chunk

from forebay_cache.model.errors import ConfigError
from forebay_cache.model.ids import ChunkId, SegmentId
from forebay_cache.store.base import Payer
from forebay_cache.store.layout import FILE_SIZE
from forebay_cache.store.ledger import COMPLETE, FILLING, Ledger, Limits
from forebay_cache.store.policies.rules import Rules

MIB = 1 << 20


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        ({"capacity_bytes": FILE_SIZE}, "capacity_bytes"),
        ({"capacity_bytes": 1 << 30, "low_percent": 91}, "low_watermark_percent"),
        ({"capacity_bytes": 1 << 30, "low_percent": 0}, "low_watermark_percent"),
        ({"capacity_bytes": 1 << 30, "high_percent": 101}, "high_watermark_percent"),
        ({"capacity_bytes": 1 << 30, "policy": "fifo"}, "eviction"),
    ],
)
def test_wrong_limits_are_refused_by_the_fields_name(limits: dict[str, int], field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        Limits(**limits)  # type: ignore[arg-type]


@pytest.mark.parametrize(("capacity", "slots"), [(32 * MIB, 256), (1 << 36, 8192), (1 << 44, 65536)])
def test_slots_follow_the_capacity_within_bounds(capacity: int, slots: int) -> None:
    assert Limits(capacity).slots == slots


def ledger_of(blocks: int, high: int, low: int) -> Ledger:
    return Ledger(Limits(blocks * 4096, high_percent=high, low_percent=low), lambda: 0)


def test_room_counts_what_is_used_and_promised() -> None:
    ledger = ledger_of(10_000, 90, 80)
    ledger.add(chunk(0), COMPLETE, 0, 4000)
    ledger.promised = 3000
    assert ledger.has_room(2000)
    assert not ledger.has_room(2001)
    assert ledger.shortage(3000) == 0
    assert ledger.shortage(3001) == 1


def test_draining_starts_at_the_high_mark_and_ends_at_the_low_one() -> None:
    ledger = ledger_of(10_000, 90, 80)
    row = ledger.add(chunk(0), COMPLETE, 0, 8500)
    assert ledger.excess(500) == 0
    assert ledger.excess(501) == 1001
    ledger.resize(row, 8200)
    assert ledger.excess(100) == 300  # below the high mark, but still draining
    ledger.resize(row, 7900)
    assert ledger.excess(50) == 0
    ledger.resize(row, 8200)
    assert ledger.excess(100) == 0


def test_one_reserve_drains_a_bounded_share() -> None:
    ledger = ledger_of(10_000_000, 90, 10)
    ledger.add(chunk(0), COMPLETE, 0, 60_000)
    ledger.used = 9_500_000
    assert 2051 < ledger.excess(2051) < 50_000


def test_victims_are_in_order_and_not_being_filled() -> None:
    ledger = ledger_of(10_000, 90, 80)
    for number in range(4):
        ledger.add(chunk(number), FILLING if number == 1 else COMPLETE, 0, 1)
    ledger.touch(chunk(0), 4096)
    ledger.touch(chunk(77), 4096)
    assert [ledger.chunk(row).number for row in ledger.victims(lambda row: False)] == [2, 3, 0]


def test_a_removed_chunk_counts_until_it_is_free() -> None:
    ledger = ledger_of(10_000, 90, 80)
    row = ledger.add(chunk(0), COMPLETE, 0, 100)
    assert (len(ledger), ledger.completes) == (1, 1)
    blocks = ledger.remove(row)
    assert (ledger.used, len(ledger), ledger.completes, ledger.find(chunk(0))) == (100, 0, 0, -1)
    ledger.free(blocks)
    assert ledger.used == 0


def test_the_partial_chunk_read_longest_ago_gives_its_slot() -> None:
    clock = [0.0]
    ledger = Ledger(Limits(1 << 30), lambda: clock[0])
    ledger.charging.govern({"p": Rules(pin=True)}, lambda segment: Payer("p", segment == chunk(0, segment=2).segment))
    for slot, state in enumerate([0, 0, FILLING, COMPLETE, 0]):
        ledger.add(chunk(slot), state, slot, 1)
    ledger.add(chunk(0, segment=2), 0, 5, 1)  # pinned
    clock[0] = 9
    ledger.touch(chunk(0), 4096)
    assert ledger.oldest_partial(lambda row: False) == 1
    assert ledger.oldest_partial(lambda row: row == 1) == 4
    assert ledger.oldest_partial(lambda row: row in (1, 4)) == 0
    assert ledger.oldest_partial(lambda row: row in (0, 1, 4)) == -1
    ledger.remove(1)
    ledger.add(chunk(7), 0, 1, 1)  # the row again, and its slot
    assert ledger.oldest_partial(lambda row: False) == 4


def test_states_are_counted() -> None:
    ledger = ledger_of(10_000, 90, 80)
    row = ledger.add(chunk(0), FILLING, 0, 1)
    ledger.set_state(row, FILLING | COMPLETE)
    ledger.set_state(row, COMPLETE)
    assert ledger.completes == 1


def test_a_chunk_takes_a_hundred_bytes_of_memory() -> None:
    ledger = Ledger(Limits(1 << 44), lambda: 0)
    segments = [SegmentId(bytes(28) + n.to_bytes(4, "big")) for n in range(10)]
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    count = 20_000
    for number in range(count):
        ledger.add(ChunkId(segments[number % 10], number), COMPLETE, 0, 2051)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (after - before) / count < 100
