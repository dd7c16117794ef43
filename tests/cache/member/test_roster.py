"""What a member knows of its cluster, and keeps."""

import pathlib

import pytest

from forebay_cache.contract.membership import MemberEntry, Membership
from forebay_cache.member.roster import Roster
from forebay_cache.model.errors import MembershipConflict, MembershipForeign, StoreFailed
from forebay_cache.placement.epochs import advance, found
from forebay_cache.placement.lookup import Placement


def entry(name: str) -> MemberEntry:
    return MemberEntry(id=name, name=f"main-{name}", capacity_bytes=1 << 30, state="Serving")


FIRST = found("c", [entry("a")])
SECOND = advance(Placement.of(FIRST), [entry("a"), entry("b")])


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    return str(tmp_path / "membership.json")


async def test_the_newest_counts_and_outlives_a_restart(path: str) -> None:
    roster = Roster("c", path)
    assert (roster.placement, roster.epoch) == (None, 0)
    await roster.offer(FIRST)
    await roster.offer(SECOND)
    await roster.offer(FIRST)
    assert roster.epoch == 2
    again = Roster("c", path)
    assert again.placement is not None
    assert again.placement.membership == SECOND


async def test_what_is_not_adopted_changes_nothing(path: str) -> None:
    roster = Roster("c", path)
    await roster.offer(SECOND)
    with pytest.raises(MembershipForeign):
        await roster.offer(found("other", [entry("a")]))
    with pytest.raises(MembershipConflict):
        await roster.offer(SECOND.model_copy(update={"members": FIRST.members, "table_hash": FIRST.table_hash}))
    assert roster.epoch == Roster("c", path).epoch == 2


@pytest.mark.parametrize("text", ["", "{", Membership.model_dump_json(found("other", [entry("a")]))])
def test_a_file_that_cannot_be_used_is_forgotten(path: str, text: str) -> None:
    pathlib.Path(path).write_text(text)
    assert Roster("c", path).epoch == 0


async def test_a_disk_that_fails_is_said_and_the_epoch_counts(tmp_path: pathlib.Path) -> None:
    roster = Roster("c", str(tmp_path / "nowhere" / "membership.json"))
    with pytest.raises(StoreFailed):
        await roster.offer(FIRST)
    assert roster.epoch == 1
