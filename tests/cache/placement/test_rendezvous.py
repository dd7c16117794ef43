"""Preference: the same for everyone, by capacity, and disturbed by nobody else's coming or going."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.rigs.memberships import CAPACITY, entry

from forebay_cache.model.ids import MemberId
from forebay_cache.placement.rendezvous import Rendezvous, distance, hash_name, weights
from forebay_cache.placement.slots import Distances

words = st.integers(0, 2**64 - 1)


@given(words, st.integers(0, 65535), st.integers(1, 2**60))
def test_arrays_and_numbers_give_the_same_distance_to_the_last_bit(seed: int, point: int, weight: int) -> None:
    array = Distances([seed], [weight]).between(np.array([point]), np.array([0]))
    assert array[0] == distance(seed, point, weight)


@given(words, st.integers(0, 65535))
def test_a_distance_is_a_logarithm(seed: int, point: int) -> None:
    """The one in the code agrees with libm's: exp(-distance) is uniform, so shares are by weight."""
    uniform = math.exp(-distance(seed, point, 1))
    x = (seed + point * 0x9E3779B97F4A7C15) % 2**64
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ x >> 27) * 0x94D049BB133111EB % 2**64
    assert math.isclose(uniform, ((x ^ x >> 31) / 2**64), rel_tol=1e-5, abs_tol=2**-52)


def test_names_choose_members_by_capacity() -> None:
    members = [entry(n, CAPACITY * (1 + n)) for n in range(4)]
    rendezvous, names = Rendezvous.of(members), 20_000
    first = [rendezvous.choose(f"leaf {number}", 1)[0] for number in range(names)]
    for n, member in enumerate(members):
        share = (1 + n) / 10
        assert abs(first.count(MemberId(member.id)) - names * share) <= 3 * math.sqrt(names * share * (1 - share))


def test_a_member_that_leaves_changes_only_what_it_held() -> None:
    members = [entry(n) for n in range(8)]
    before, after = Rendezvous.of(members), Rendezvous.of(members[1:])
    for number in range(500):
        held = before.choose(f"leaf {number}", 3)
        kept = tuple(member for member in held if member != members[0].id)
        assert after.choose(f"leaf {number}", 3)[: len(kept)] == kept


def test_the_order_of_members_does_not_matter() -> None:
    members = [entry(n) for n in range(8)]
    assert Rendezvous.of(members).choose("x", 3) == Rendezvous.of(members[::-1]).choose("x", 3)


def test_fewer_members_than_asked_for_are_all_of_them() -> None:
    assert set(Rendezvous.of([entry(0), entry(1)]).choose("x", 3)) == {entry(0).id, entry(1).id}


def test_who_leaves_or_has_no_room_counts_for_nothing() -> None:
    assert weights([entry(0), entry(1, 0), entry(2, state="Leaving")]) == [CAPACITY, 0, 0]


def test_without_any_capacity_those_who_stay_count_alike() -> None:
    assert weights([entry(0, 0), entry(1, state="Leaving")]) == [1, 0]


def test_where_all_leave_all_count() -> None:
    assert weights([entry(0, state="Leaving"), entry(1, state="Leaving")]) == [1, 1]


def test_a_hash_of_a_name_is_pinned() -> None:
    assert hash_name("forebay") == int.from_bytes(bytes.fromhex("d01d1e43a8d91b09"), "little")


def test_an_order_of_preference_is_pinned() -> None:
    """Other versions look for catalog files where this one put them."""
    members = [entry(n, CAPACITY * (1 + n)) for n in range(6)]
    number = {member.id: n for n, member in enumerate(members)}
    assert [number[member] for member in Rendezvous.of(members).choose("leaf", 6)] == [4, 5, 3, 0, 1, 2]
