"""Look-ups: an owner for every chunk, chunks spread as evenly as slots, and no table that lies."""

import hashlib
import math
import time
from array import array

import pytest
from tests.rigs.memberships import CAPACITY, CLUSTER, after, entry, placement

from forebay_cache.contract.membership import NOBODY, SLOTS, Membership, encode_table, hash_tables, slot_of
from forebay_cache.model.errors import MembershipCorrupt, MembershipRefused
from forebay_cache.model.ids import ChunkId, SegmentId
from forebay_cache.placement.epochs import found
from forebay_cache.placement.lookup import Placement

SEED = 20


def segment(number: int) -> SegmentId:
    return SegmentId(hashlib.sha256(b"%d %d" % (SEED, number)).digest())


def chunks(segments: int, each: int) -> list[ChunkId]:
    return [ChunkId(segment(s), number) for s in range(segments) for number in range(each)]


def rewritten(membership: Membership, owners: "array[int]", previous: "array[int]") -> Membership:
    tables = {
        "owners": encode_table(owners),
        "previous": encode_table(previous),
        "table_hash": hash_tables(owners, previous),
    }
    return membership.model_copy(update=tables)


@pytest.mark.parametrize("shape", [(60_000, 1), (2_000, 30), (1, 60_000)], ids=["small", "packed", "one large object"])
def test_chunks_are_spread_as_evenly_as_slots_within_three_sigma(shape: tuple[int, int]) -> None:
    members = [entry(n, CAPACITY * (1 + n % 3)) for n in range(12)]
    here, held = placement(members), dict.fromkeys((m.id for m in members), 0)
    all_of_them = chunks(*shape)
    for chunk in all_of_them:
        held[here.owner(chunk)] += 1
    for member in members:
        share = member.capacity_bytes / sum(m.capacity_bytes for m in members)
        sigma = math.sqrt(len(all_of_them) * share * (1 - share))
        assert abs(held[member.id] - len(all_of_them) * share) <= 3 * sigma, f"seed {SEED}"


def test_consecutive_chunks_of_a_segment_meet_every_slot_once() -> None:
    assert len({slot_of(segment(0), number) for number in range(7, 7 + SLOTS)}) == SLOTS


def test_a_slot_is_pinned() -> None:
    assert [slot_of(bytes([1, 2]) + bytes(30), number) for number in (0, 1, 2, 1 << 31)] == [258, 40761, 15728, 258]


def test_a_chunk_that_moved_knows_who_had_it() -> None:
    before = placement([entry(0), entry(1)])
    now = after(before, [entry(0), entry(1), entry(2, state="Joining")])
    for chunk in chunks(500, 2):
        if now.owner(chunk) == before.owner(chunk):
            assert now.previous_owner(chunk) is None
        else:
            assert (now.owner(chunk), now.previous_owner(chunk)) == (entry(2).id, before.owner(chunk))


def test_the_moves_are_the_slots_that_changed_hands() -> None:
    before = placement([entry(n) for n in range(3)])
    now = after(before, [entry(0), entry(1), entry(2, state="Leaving"), entry(3, state="Joining")])
    seen: dict[int, tuple[str, str]] = {}
    for move in now.moves():
        seen |= dict.fromkeys(move.slots, (move.source, move.target))
    ids = sorted(before.members), sorted(now.members)
    pairs = [(ids[0][a], ids[1][b]) for a, b in zip(before.owners, now.owners, strict=True)]
    assert seen == {slot: pair for slot, pair in enumerate(pairs) if pair[0] != pair[1]}
    assert sum(len(move.slots) for move in now.moves()) == len(seen)


def test_a_first_epoch_has_no_moves() -> None:
    assert placement([entry(0), entry(1)]).moves() == ()


def test_catalog_files_are_kept_by_three_who_stay() -> None:
    here = placement([entry(n) for n in range(5)] + [entry(5, state="Leaving")])
    for number in range(200):
        holders = here.choose_holders(f"leaf {number}")
        assert len(set(holders)) == 3
        assert entry(5).id not in holders


def test_a_sync_runs_where_the_catalog_is() -> None:
    here = placement([entry(0), *(entry(n, state="Joining") for n in range(1, 9))])
    assert {here.choose_syncer(f"dataset {number}") for number in range(50)} == {entry(0).id}


def test_syncs_are_spread_over_members() -> None:
    here = placement([entry(n, state="Joining") for n in range(3)])
    assert len({here.choose_syncer(f"dataset {number}") for number in range(50)}) == 3


def test_a_table_that_does_not_match_its_hash_is_refused() -> None:
    membership = found(CLUSTER, [entry(0), entry(1)])
    flipped = array("H", Placement.of(membership).owners)
    flipped[77] ^= 1
    with pytest.raises(MembershipCorrupt, match="epoch 1: its placement table does not have the hash"):
        Placement.of(membership.model_copy(update={"owners": encode_table(flipped)}))


@pytest.mark.parametrize("owner", [2, NOBODY])
def test_a_slot_without_an_owner_is_refused(owner: int) -> None:
    membership = found(CLUSTER, [entry(0), entry(1)])
    table = array("H", Placement.of(membership).owners)
    table[0] = owner
    with pytest.raises(MembershipCorrupt, match="more than its 2 members"):
        Placement.of(rewritten(membership, table, array("H", [NOBODY]) * SLOTS))


def test_a_previous_owner_that_is_no_member_is_refused() -> None:
    membership = found(CLUSTER, [entry(0), entry(1)])
    with pytest.raises(MembershipCorrupt, match="more than its 2 members"):
        Placement.of(rewritten(membership, Placement.of(membership).owners, array("H", [2]) * SLOTS))


def test_a_table_that_cannot_be_unpacked_is_refused() -> None:
    with pytest.raises(MembershipCorrupt, match="cannot be unpacked"):
        Placement.of(found(CLUSTER, [entry(0)]).model_copy(update={"owners": "AAAA"}))


def test_a_format_of_a_newer_program_is_refused_by_name() -> None:
    with pytest.raises(MembershipRefused, match="format 2, this program reads 1"):
        Placement.of(found(CLUSTER, [entry(0)]).model_copy(update={"format": 2}))


def test_a_placement_says_what_it_is() -> None:
    now = after(placement([entry(0)]), [entry(0), entry(1)])
    assert repr(now) == "<Placement epoch=2 members=2 moving=32768>"


def test_what_a_look_up_costs_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    here, many = placement([entry(n) for n in range(100)]), chunks(2000, 5)
    start = time.process_time()
    owners = [here.owner(chunk) for chunk in many]
    spent = time.process_time() - start
    with capsys.disabled():
        print(f" [owner: {spent / len(many) * 1e6:.2f} us]", end="")
    assert set(owners) <= set(here.members)
