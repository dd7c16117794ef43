"""Whom a member asks, and what follows from an answer."""

import pytest
from tests.rigs.memberships import after as next_epoch
from tests.rigs.memberships import entry, placement

from forebay_cache.model.errors import OriginThrottled, PartGone
from forebay_cache.model.ids import ChunkId, MemberId, SegmentId
from forebay_cache.read.routes import BUSY_TRIES, Again, Here, Origin, There, after, route
from forebay_cache.transfer.base import Absent, Busy, Other, Reason, Refused, WrongEpoch

CHUNKS = [ChunkId(SegmentId(bytes([a, b]) * 16), 3) for a in range(0, 256, 5) for b in range(0, 256, 11)]
IDS = [MemberId(entry(n).id) for n in range(3)]


def test_a_member_alone_brings_everything_itself() -> None:
    assert all(route(None, IDS[0], chunk) == Here() for chunk in CHUNKS)


def test_each_chunk_is_brought_by_one_member_and_all_agree() -> None:
    cluster = placement(entry(n) for n in range(3))
    for chunk in CHUNKS:
        routes = {me: route(cluster, me, chunk) for me in IDS}
        (owner,) = [me for me, found in routes.items() if isinstance(found, Here)]
        assert all(found == There(owner) for me, found in routes.items() if me != owner)


def test_a_new_owner_knows_who_had_the_chunk() -> None:
    old = placement(entry(n) for n in range(2))
    new = next_epoch(old, (entry(n) for n in range(3)))
    found = [route(new, IDS[2], chunk) for chunk in CHUNKS]
    here = [(chunk, one.previous) for chunk, one in zip(CHUNKS, found, strict=True) if isinstance(one, Here)]
    assert here
    assert all(previous == old.owner(chunk) for chunk, previous in here)


def test_who_never_moved_asks_nobody() -> None:
    old = placement(entry(n) for n in range(2))
    new = next_epoch(old, (entry(n) for n in range(3)))
    stayed = [chunk for chunk in CHUNKS if new.owner(chunk) == old.owner(chunk) == IDS[0]]
    assert stayed
    assert all(route(new, IDS[0], chunk) == Here() for chunk in stayed)


def test_a_busy_owner_is_asked_again_for_a_while() -> None:
    assert after(Busy(0, 0.2), 1) == Again(0.2)
    assert after(Busy(0, 3600), BUSY_TRIES - 1) == Again(1.0)
    assert after(Busy(0, 0.2), BUSY_TRIES) == Origin()


@pytest.mark.parametrize(
    "answer",
    [
        Absent(0),
        WrongEpoch(0, 7),
        *(Refused(0, r, "") for r in (Reason.FAILED, Reason.ORIGIN, Reason.UNKNOWN, Reason.DEADLINE)),
    ],
    ids=str,
)
def test_what_an_owner_cannot_do_the_origin_may(answer: Other) -> None:
    assert after(answer, 1) == Origin()


def test_what_is_true_for_everyone_is_told_to_the_reader() -> None:
    assert isinstance(after(Refused(0, Reason.GONE, "gone"), 1), PartGone)
    assert isinstance(after(Refused(0, Reason.THROTTLED, "slow down"), 1), OriginThrottled)
