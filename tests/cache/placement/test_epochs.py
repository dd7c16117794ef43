"""Epochs: what each member is told of a change, and that nothing cached is forgotten by it."""

from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.rigs.memberships import CAPACITY, CLUSTER, after, entry, placement

from forebay_cache.contract.membership import NOBODY, SLOTS, MemberEntry
from forebay_cache.placement.epochs import advance, found, settle
from forebay_cache.placement.lookup import Placement

GONE = None
State = Literal["Joining", "Serving", "Leaving"]


def owners(here: Placement) -> list[str]:
    ids = list(here.members)
    return [ids[index] for index in here.owners]


def previous(here: Placement) -> list[str | None]:
    ids = list(here.members)
    return [GONE if index == NOBODY else ids[index] for index in here.previous]


def slots_owned(here: Placement, member: MemberEntry) -> int:
    return owners(here).count(member.id)


def test_a_joiner_owns_its_share_at_once_and_asks_those_who_had_it() -> None:
    now = after(placement([entry(0), entry(1)]), [entry(0), entry(1), entry(2, state="Joining")])
    assert slots_owned(now, entry(2)) in {SLOTS // 3, SLOTS // 3 + 1}
    assert {a for a, b in zip(previous(now), owners(now), strict=True) if b == entry(2).id} == {
        entry(0).id,
        entry(1).id,
    }


def test_a_leaver_owns_nothing_and_is_asked_for_all_it_had() -> None:
    before = placement([entry(0), entry(1), entry(2)])
    now = after(before, [entry(0), entry(1), entry(2, state="Leaving")])
    assert slots_owned(now, entry(2)) == 0
    assert previous(now).count(entry(2).id) == slots_owned(before, entry(2))
    assert previous(now).count(GONE) == SLOTS - slots_owned(before, entry(2))


def test_who_left_for_good_moves_nothing_more() -> None:
    leaving = after(placement([entry(0), entry(1), entry(2)]), [entry(0), entry(1), entry(2, state="Leaving")])
    left = after(Placement.of(settle(leaving)), [entry(0), entry(1)])
    assert owners(left) == owners(leaving)
    assert left.moves() == ()


def test_nobody_asks_a_member_that_is_lost() -> None:
    now = after(placement([entry(0), entry(1), entry(2)]), [entry(0), entry(1)])
    assert set(previous(now)) == {GONE}


def test_a_joiner_lost_in_its_hand_over_leaves_its_slots_to_those_who_still_have_them() -> None:
    first = placement([entry(0), entry(1)])
    joined = after(first, [entry(0), entry(1), entry(2, state="Joining")])
    lost = after(joined, [entry(0), entry(1)])
    for had, before, now, asks in zip(owners(first), owners(joined), owners(lost), previous(lost), strict=True):
        assert asks == (had if before == entry(2).id and now != had else GONE)


def test_a_hand_over_goes_on_through_another_change() -> None:
    first = placement([entry(0), entry(1)])
    second = after(first, [entry(0), entry(1), entry(2, state="Joining")])
    third = after(second, [entry(0), entry(1), entry(2, state="Joining"), entry(3, state="Joining")])
    for held, asked, now, asks in zip(owners(second), previous(second), owners(third), previous(third), strict=True):
        assert asks == (asked if now == held else held)


def test_a_hand_over_that_is_done_is_forgotten_and_who_joined_serves() -> None:
    now = after(placement([entry(0)]), [entry(0), entry(1, state="Joining")])
    done = Placement.of(settle(now))
    assert (done.epoch, owners(done), done.moves()) == (3, owners(now), ())
    assert {member.state for member in done.members.values()} == {"Serving"}


def test_a_state_says_since_when() -> None:
    now = after(placement([entry(0)]), [entry(0), entry(1, state="Joining")])
    done = settle(now)
    assert {m.name: m.since_epoch for m in now.membership.members} == {"cache-0": 1, "cache-1": 2}
    assert {m.name: m.since_epoch for m in done.members} == {"cache-0": 1, "cache-1": 3}


def test_a_new_address_is_a_new_epoch_that_moves_nothing() -> None:
    before = placement([entry(0), entry(1)])
    elsewhere = entry(0).model_copy(update={"name": "cache-7"})
    now = after(before, [elsewhere, entry(1)])
    assert (now.epoch, owners(now), now.moves()) == (2, owners(before), ())


def test_two_members_become_one_and_two_again() -> None:
    both = placement([entry(0), entry(1)])
    one = after(both, [entry(0)])
    assert set(owners(one)) == {entry(0).id}
    again = after(one, [entry(0), entry(1, state="Joining")])
    assert len(set(owners(again))) == 2
    assert sum(len(move.slots) for move in again.moves()) == SLOTS // 2


def test_a_lone_member_without_capacity_still_owns_everything() -> None:
    assert set(owners(placement([entry(0, 0)]))) == {entry(0).id}


def test_members_that_all_leave_own_what_they_had() -> None:
    before = placement([entry(0), entry(1)])
    assert owners(after(before, [entry(0, state="Leaving"), entry(1, state="Leaving")])) == owners(before)


def test_nobody_or_one_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 item"):
        found(CLUSTER, [])
    with pytest.raises(ValueError, match="each once"):
        found(CLUSTER, [entry(0), entry(0)])


clusters = st.dictionaries(
    st.integers(0, 9),
    st.tuples(st.sampled_from([0, CAPACITY, 3 * CAPACITY]), st.sampled_from(["Joining", "Serving", "Leaving"])),
    min_size=1,
    max_size=6,
)


@settings(deadline=None, print_blob=True, max_examples=20)
@given(st.lists(clusters, min_size=2, max_size=4))
def test_a_chunk_stays_reachable_while_anyone_who_had_it_last_is_a_member(
    steps: list[dict[int, tuple[int, State]]],
) -> None:
    """Its owner is who had it, or knows who had it; and the answer does not depend on the order of the members."""
    lists = [[entry(n, capacity, state) for n, (capacity, state) in step.items()] for step in steps]
    here = placement(lists[0])
    for members in lists[1:]:
        now = after(here, members)
        assert advance(here, reversed(members)) == now.membership
        for had, asked, owns, asks in zip(owners(here), previous(here), owners(now), previous(now), strict=True):
            candidates = [member for member in (had, asked) if member in now.members]
            assert asks != owns
            assert not candidates or candidates[0] in (owns, asks)
            assert asks is GONE or asks in candidates
        here = now
