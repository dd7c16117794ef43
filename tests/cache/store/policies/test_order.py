"""The rules together: each by itself, then all of them against a naive model, in any order of steps."""

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.rigs.policies import Simulation, mark

from forebay_cache.store.policies import order
from forebay_cache.store.policies.base import Charge, Miss
from forebay_cache.store.policies.ranks import FIRST, HELD, LANES, LEAVING, SECOND, WHOLE_CHUNK, Ranks
from forebay_cache.store.policies.rules import NOBODYS, Rules

CAPACITY = 40 * WHOLE_CHUNK


def nothing_is_held(_: int) -> bool:
    return False


def pair(room: int, first: Rules, second: Rules) -> tuple[Simulation, Charge]:
    cache = Simulation(room, first)
    return cache, Charge(cache.ranks.open(second))


def chunks(count: int) -> int:
    return count * WHOLE_CHUNK


# admission


def test_room_lets_anybody_in() -> None:
    ranks = Ranks(CAPACITY, Rules("epoch"))
    assert order.admit(ranks, Miss(0, 1, 100), 100, 0)
    assert not order.admit(ranks, Miss(0, 1, 100), 99, 0)


def test_a_miss_in_a_partial_chunk_reads_that_chunk() -> None:
    ranks = Ranks(CAPACITY, Rules("lru"))
    for row in (0, 1):
        order.added(ranks, row, Charge(), mark(row), 0)
        order.resized(ranks, row, 5)
    assert order.admit(ranks, Miss(0, mark(0), 7, 0.1, row=0), 0, 9)
    assert list(order.victims(ranks, None, nothing_is_held, 9)) == [1, 0]


@pytest.mark.parametrize("policy", ["lru", "s3fifo", "epoch"])
def test_a_cap_holds_while_there_is_room(policy: str) -> None:
    cache = Simulation(100, Rules(policy, cap=chunks(10)))
    cache.run(range(50))
    assert cache.held(0) == 10
    assert (0 in cache.rows) == (policy == "epoch")


def test_a_capped_dataset_takes_from_nobody_else() -> None:
    cache, other = pair(20, Rules("lru", priority=0), Rules("lru", priority=9, cap=chunks(5)))
    cache.run(range(20))
    cache.run(range(100, 150), charge=other)
    assert (cache.held(0), cache.held(1)) == (15, 5)


def test_a_cap_that_was_lowered_is_owed() -> None:
    cache = Simulation(20, Rules("lru"))
    cache.run(range(20))
    order.change(cache.ranks, 0, Rules("lru", cap=chunks(5)))
    assert order.owed(cache.ranks, 0, WHOLE_CHUNK) == chunks(16)


# who gives


def test_lower_priority_goes_first() -> None:
    cache, high = pair(20, Rules("lru", priority=1), Rules("lru", priority=2))
    cache.run(range(20))
    cache.run(range(100, 115), charge=high)
    assert (cache.held(0), cache.held(1)) == (5, 15)
    cache.run(range(20, 60))
    assert (cache.held(0), cache.held(1)) == (5, 15)


def test_what_nobody_lists_goes_first() -> None:
    cache, listed = pair(20, Rules("lru", NOBODYS), Rules("lru", priority=0))
    cache.run(range(20))
    cache.run(range(100, 130), charge=listed)
    assert (cache.held(0), cache.held(1)) == (0, 20)


@pytest.mark.parametrize("policy", ["lru", "s3fifo", "epoch"])
@pytest.mark.parametrize("priority", [1, 5, 9])
def test_a_guarantee_is_never_pushed_out(policy: str, priority: int) -> None:
    cache, other = pair(20, Rules(policy, 5, guarantee=chunks(8)), Rules(policy, priority))
    cache.run(range(20))
    for number in range(100, 300):
        cache.read(number, charge=other)
        assert cache.held(0) >= 8


@pytest.mark.parametrize("policy", ["lru", "s3fifo", "epoch"])
def test_a_guarantee_is_reached_against_higher_priority(policy: str) -> None:
    cache, small = pair(20, Rules("epoch", 900), Rules(policy, 1, guarantee=chunks(8)))
    cache.run(range(20))
    cache.run(range(100, 200), charge=small)
    assert cache.held(1) == 8


@pytest.mark.parametrize("policy", ["lru", "s3fifo", "epoch"])
def test_equals_give_until_they_are_even(policy: str) -> None:
    cache, other = pair(40, Rules(policy), Rules(policy))
    cache.run(range(40))
    for number in range(100, 400):
        cache.read(number - 100)
        cache.read(1000 + number, charge=other)
    assert abs(cache.held(0) - cache.held(1)) <= 4


def test_who_has_most_gives_first() -> None:
    cache = Simulation(60, Rules("lru"))
    groups = [Charge(cache.ranks.open(Rules("lru"))) for _ in range(3)]
    for charge, count in zip(groups, (10, 30, 20), strict=True):
        for number in range(count):
            cache.put(1000 * charge.group + number, charge)
    cache.run(range(15))
    assert [cache.held(charge.group) for charge in groups] == [10, 17, 18]


def test_an_idle_dataset_gives_to_its_equals_whatever_it_has() -> None:
    cache, other = pair(40, Rules("epoch"), Rules("epoch"))
    cache.run(range(4))
    cache.run(range(100, 300), charge=other)
    assert (cache.held(0), cache.held(1)) == (0, 40)


def test_a_dataset_that_is_read_is_not_idle() -> None:
    cache, other = pair(40, Rules("epoch"), Rules("epoch"))
    cache.run(range(4))
    for number in range(100, 300):
        cache.read(number, charge=other)
        cache.read(number % 4)
    assert (cache.held(0), cache.held(1)) == (4, 36)


def test_misses_of_small_files_make_idle_by_their_bytes() -> None:
    cache, other = pair(40, Rules("epoch"), Rules("epoch"))
    cache.run(range(4))
    for number in range(36 + 3):
        cache.run([100 + number] * 80, share=1 / 80, charge=other)
    assert cache.held(0) == 4


@pytest.mark.parametrize("policy", ["lru", "s3fifo", "epoch"])
def test_an_expired_dataset_goes_first_and_keeps_no_guarantee(policy: str) -> None:
    cache, other = pair(20, Rules(policy, 900, ttl_s=60, guarantee=chunks(20)), Rules(policy, 1))
    cache.run(range(20))
    cache.now = 60
    cache.run(range(100, 110), charge=other)
    assert cache.held(0) == 20
    cache.now = 61
    cache.run(range(100, 110), charge=other)
    assert cache.held(0) == 10
    cache.read(max(cache.rows.keys() & range(20)))
    cache.run(range(200, 220), charge=other)
    assert cache.held(0) == 10


def test_the_sweep_finds_rows_past_their_ttl() -> None:
    cache, other = pair(20, Rules("epoch", ttl_s=60), Rules("lru"))
    pinned = Charge(0, pinned=True)
    cache.run([1, 2])
    cache.put(3, pinned)
    cache.put(4, other)
    cache.now = 50
    cache.read(2)
    assert not list(order.expired(cache.ranks, 0, 99, 60))
    assert [cache.chunks[row] for row in order.expired(cache.ranks, 0, 99, 61)] == [1]
    assert [cache.chunks[row] for row in order.expired(cache.ranks, 0, 99, 999)] == [1, 2]
    assert not list(order.expired(cache.ranks, 2, 99, 999))


def test_what_is_pinned_stays_also_when_the_store_must_shrink() -> None:
    cache = Simulation(20, Rules("lru"))
    for number in range(20):
        cache.put(number, Charge(0, pinned=number % 2 == 0))
    cache.run(range(100, 130))
    given = [cache.chunks[row] for row in order.victims(cache.ranks, None, nothing_is_held, 0)]
    assert sorted(given) == list(range(120, 130))
    assert all(number in cache.rows for number in range(0, 20, 2))


def test_guarantees_give_last_when_the_store_must_shrink() -> None:
    cache, other = pair(20, Rules("lru", 1, guarantee=chunks(10)), Rules("lru", 2))
    cache.run(range(10))
    cache.run(range(100, 110), charge=other)
    given = [cache.chunks[row] for row in order.victims(cache.ranks, None, nothing_is_held, 0)]
    assert given == [*range(100, 110), *range(10)]


# moving


def test_moving_a_row_takes_its_bytes_along() -> None:
    cache, other = pair(20, Rules("epoch"), Rules("s3fifo"))
    cache.run(range(10))
    for number in range(4):
        order.moved(cache.ranks, cache.rows[number], Charge(other.group, pinned=number == 0))
    assert (cache.held(0), cache.held(1)) == (6, 4)
    given = {cache.chunks[row] for row in order.victims(cache.ranks, None, nothing_is_held, 0)}
    assert given == set(range(1, 10))


def test_a_row_that_moves_brings_the_time_of_its_read() -> None:
    cache, expired = pair(20, Rules("lru"), Rules("lru", ttl_s=10))
    cache.put(100, expired)
    cache.now = 50
    for number in range(19):
        cache.put(number)
    cache.read(200)
    assert (100 in cache.rows, cache.held(1)) == (False, 0)
    order.moved(cache.ranks, cache.rows[5], expired)
    cache.read(300)
    assert 5 in cache.rows


def test_another_policy_needs_another_group() -> None:
    ranks = Ranks(CAPACITY, Rules("lru"))
    with pytest.raises(ValueError, match="policy lru, not epoch"):
        order.change(ranks, 0, Rules("epoch"))


# everything together


@dataclass
class Naive:
    """The rules as one reads them, for lru Datasets: lists, and a look at every group each time."""

    rules: Rules
    rows: list[int] = field(default_factory=list)  # oldest first
    pinned: set[int] = field(default_factory=set)
    seen: int = 0
    pressure: int = 0

    def used(self, sizes: dict[int, int]) -> int:
        return sum(sizes[row] for row in [*self.rows, *self.pinned])

    def level(self, now: int, pressure: int) -> tuple[int, ...]:
        if self.rules.ttl_s and now - self.seen > self.rules.ttl_s:
            return (0,)
        return (1, self.rules.priority, int(pressure - self.pressure < CAPACITY))

    def spare(self, now: int, sizes: dict[int, int]) -> int:
        gone = self.rules.ttl_s and now - self.seen > self.rules.ttl_s
        return self.used(sizes) - (0 if gone else self.rules.guarantee)


class Model:
    def __init__(self, rules: list[Rules]) -> None:
        self.groups = [Naive(one) for one in rules]
        self.sizes: dict[int, int] = {}
        self.read_at: dict[int, int] = {}
        self.now = self.pressure = 0

    def access(self, number: int) -> Naive:
        group = self.groups[number]
        group.seen, group.pressure = self.now, self.pressure
        return group

    def remove(self, row: int) -> None:
        for group in self.groups:
            group.rows = [one for one in group.rows if one != row]
            group.pinned.discard(row)
        del self.sizes[row]

    def owner(self, row: int) -> int:
        return next(n for n, one in enumerate(self.groups) if row in one.rows or row in one.pinned)

    def move(self, row: int, charge: Charge) -> None:
        old, new = self.groups[self.owner(row)], self.groups[charge.group]
        if old is new and (row in old.pinned) == charge.pinned:
            return
        if row in old.pinned:
            old.pinned.remove(row)
        else:
            old.rows.remove(row)
        (new.pinned.add if charge.pinned else new.rows.append)(row)
        new.seen = max(new.seen, self.read_at[row])

    def next_victim(self, asker: int, had: int) -> int:
        """The row that goes next; -1: none. `had`: what the asker has beyond its guarantee by now."""
        group = self.groups[asker]
        own = group.rows[0] if group.rows else -1
        givers = [one for one in self.groups if one.rows and one.spare(self.now, self.sizes) > 0]
        while givers:
            giver = min(givers, key=lambda one: (one.level(self.now, self.pressure), -one.spare(self.now, self.sizes)))
            if giver is group:
                return own
            mine = (1, group.rules.priority, 1) if had >= 0 else (2,)
            theirs, spare = giver.level(self.now, self.pressure), giver.spare(self.now, self.sizes)
            if theirs > mine or (theirs == mine and spare <= had + 2 * WHOLE_CHUNK):
                return own
            guarded = giver.rules.guarantee and len(theirs) > 1
            if not guarded or spare >= WHOLE_CHUNK:
                return giver.rows[0]
            givers.remove(giver)
        return own

    def victims(self, asker: int, count: int) -> list[int]:
        group, given = self.access(asker), list[int]()
        had = group.used(self.sizes) - group.rules.guarantee
        capped = group.rules.cap and group.used(self.sizes) + WHOLE_CHUNK > group.rules.cap
        while len(given) < count:
            row = (group.rows[0] if group.rows else -1) if capped else self.next_victim(asker, had)
            if row < 0:
                break
            had += 0 if row in group.rows else self.sizes[row]
            given.append(row)
            self.remove(row)
        return given


rules = st.builds(
    lambda priority, ttl, guarantee, more: Rules("lru", priority, False, ttl, guarantee, more and guarantee + more),
    st.integers(0, 2),
    st.sampled_from([0, 0, 5]),
    st.sampled_from([0, 0, chunks(2), chunks(5) + 7]),
    st.sampled_from([0, 0, chunks(4)]),
)
step = st.tuples(
    st.sampled_from(["add", "add", "add", "touch", "remove", "resize", "move", "miss", "victims", "wait"]),
    st.integers(0, 3),
    st.integers(0, 30),
    st.integers(1, 9),
)


class Both:
    """Takes each step in `order` and in the model."""

    def __init__(self, all_rules: list[Rules]) -> None:
        self.ranks, self.model = Ranks(CAPACITY, all_rules[0]), Model(all_rules)
        for one in all_rules[1:]:
            self.ranks.open(one)

    def add(self, number: int, row: int, amount: int) -> None:
        if row in self.model.sizes:
            return self.resize(number, row, amount)
        pinned = amount == 9
        order.added(self.ranks, row, Charge(number, pinned), mark(row), self.model.now)
        order.resized(self.ranks, row, amount * 200)
        group = self.model.access(number)
        self.model.sizes[row], self.model.read_at[row] = amount * 200, self.model.now
        return group.pinned.add(row) if pinned else group.rows.append(row)

    def touch(self, number: int, row: int, amount: int) -> None:
        if row in self.model.sizes:
            order.touched(self.ranks, row, 1 / amount, self.model.now)
            group = self.model.access(self.model.owner(row))
            self.model.read_at[row] = self.model.now
            if row in group.rows:
                group.rows.remove(row)
                group.rows.append(row)

    def resize(self, number: int, row: int, amount: int) -> None:
        if row in self.model.sizes:
            order.resized(self.ranks, row, amount * 200)
            self.model.sizes[row] = amount * 200

    def remove(self, number: int, row: int, amount: int) -> None:
        if row in self.model.sizes:
            order.removed(self.ranks, row, mark(row))
            self.model.remove(row)

    def move(self, number: int, row: int, amount: int) -> None:
        if row in self.model.sizes:
            charge = Charge(number, pinned=amount > 6)
            order.moved(self.ranks, row, charge)
            self.model.move(row, charge)

    def miss(self, number: int, row: int, amount: int) -> None:
        order.admit(self.ranks, Miss(number, mark(row), 1, amount), 1 << 40, self.model.now)
        self.model.access(number)
        self.model.pressure += amount * WHOLE_CHUNK

    def victims(self, number: int, row: int, amount: int) -> None:
        """Evicts at once, or all of them at the end."""
        given = []
        for victim in order.victims(self.ranks, number, nothing_is_held, self.model.now):
            given.append(victim)
            if row % 2:
                order.removed(self.ranks, victim, mark(victim))
            if len(given) == amount:
                break
        for victim in given if not row % 2 else []:
            order.removed(self.ranks, victim, mark(victim))
        assert given == self.model.victims(number, amount)

    def wait(self, number: int, row: int, amount: int) -> None:
        self.model.now += amount

    def compare(self) -> None:
        for group, naive in zip(self.ranks.groups, self.model.groups, strict=True):
            assert group is not None
            assert group.used == naive.used(self.model.sizes)
            assert list(self.ranks.oldest(group.number * LANES + FIRST)) == naive.rows


@settings(max_examples=150, deadline=None)
@given(st.lists(rules, min_size=4, max_size=4), st.lists(step, min_size=30, max_size=120))
def test_any_order_of_steps_agrees_with_the_naive_model(
    all_rules: list[Rules], steps: list[tuple[str, int, int, int]]
) -> None:
    both = Both(all_rules)
    for name, number, row, amount in steps:
        getattr(both, name)(number, row, amount)
        both.compare()


@pytest.mark.parametrize("seed", range(4))
def test_fuzz_of_mixed_policies_keeps_the_promises(seed: int) -> None:
    """Pins, guarantees and caps hold in any order of steps, nothing is lost, and no row is given twice."""
    print("seed", seed)
    rng = random.Random(seed)
    cache = Simulation(60, Rules("lru", NOBODYS))
    for policy in ("epoch", "s3fifo", "lru", "epoch", "s3fifo"):
        guarantee = rng.choice([0, chunks(5)])
        cap = rng.choice([0, chunks(rng.randrange(6, 30))])
        cache.ranks.open(Rules(policy, rng.randrange(3), ttl_s=rng.choice([0, 50]), guarantee=guarantee, cap=cap))
    pinned = {9000 + number for number in range(6)}
    for number in pinned:
        cache.put(number, Charge(rng.randrange(6), pinned=True))
    before = [0] * 6
    for _ in range(6000):
        group = rng.randrange(1, 6)
        action = rng.random()
        if action < 0.9:
            before = [cache.held(number) for number in range(6)]
            expired = cache.now
            cache.read(group * 100 + min(int(rng.expovariate(0.03)), 99), rng.choice([1.0, 0.1]), Charge(group))
            check_givers(cache, before, group, expired)
        elif action < 0.93 and cache.chunks:
            row = rng.choice(sorted(cache.chunks))
            if cache.chunks[row] not in pinned:
                cache.drop(row)
        elif action < 0.97 and cache.chunks:
            row = rng.choice(sorted(cache.chunks))
            if cache.chunks[row] not in pinned:
                order.moved(cache.ranks, row, Charge(group))
        else:
            cache.now += rng.randrange(10)
        assert len(cache.rows) <= 60
        assert pinned <= set(cache.rows)
    check_lanes(cache)


def check_givers(cache: Simulation, before: list[int], asker: int, now: int) -> None:
    for number, held in enumerate(before):
        rules = cache.ranks.group(number).rules
        expired = rules.ttl_s and now - cache.ranks.group(number).seen > rules.ttl_s
        if number != asker and not expired and cache.held(number) < held:
            assert cache.held(number) >= rules.guarantee // WHOLE_CHUNK
    cap = cache.ranks.group(asker).rules.cap
    assert not cap or cache.held(asker) <= max(before[asker], cap // WHOLE_CHUNK)


def check_lanes(cache: Simulation) -> None:
    found: list[int] = []
    for group in cache.ranks.groups:
        assert group is not None
        rows = [
            row for lane in (FIRST, SECOND, LEAVING, HELD) for row in cache.ranks.oldest(group.number * LANES + lane)
        ]
        assert group.used == sum(cache.ranks.blocks[row] for row in rows)
        found += rows
    assert sorted(found) == sorted(cache.chunks)
    given = list(order.victims(cache.ranks, None, nothing_is_held, cache.now))
    assert len(given) == len(set(given)) == len(cache.rows) - 6
