"""What a member answers its operator, over a real catalog and a store in memory."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.cache.member.conftest import UID, House

from forebay_cache.member import durable
from forebay_cache.member.backend import Identity, MemberBackend, Parts
from forebay_cache.member.syncs import Syncs
from forebay_cache.model.errors import NotFound
from forebay_cache.model.ids import MemberId
from forebay_cache.read.counters import ReadCounters
from forebay_cache.store.ledger import Limits
from forebay_cache.store.memory import MemoryStore


@pytest.fixture
def backend(house: House, tmp_path: Path) -> MemberBackend:
    store = MemoryStore(Limits(1 << 30), MemberId("member"))
    unused = cast("Any", SimpleNamespace(epoch=0, placement=None))
    parts = Parts(
        house.registry, house.files, store, Syncs("/nonexistent", lambda: 0), ReadCounters(), unused, unused, unused
    )
    return MemberBackend(Identity(UID, "boot", str(tmp_path / "state.json")), parts, lambda: b"metrics")


async def test_a_member_is_ready_once_it_knows_what_to_serve(house: House, backend: MemberBackend) -> None:
    assert "waiting for the first" in str(backend.ready())
    head = await house.commit(b"1")
    await backend.put_state(house.state(house.dataset("photos", head)))
    assert backend.ready() is None
    report = await backend.report()
    assert (report.ready, report.state_version, report.catalog) == (True, 1, ())
    assert [(one.uid, one.head) for one in report.datasets] == [("uid-photos", head)]


async def test_a_state_is_on_disk_when_it_is_acknowledged(house: House, backend: MemberBackend, tmp_path: Path) -> None:
    await backend.put_state(house.state(house.dataset("photos", None)))
    newest = house.state(house.dataset("films", None))
    await backend.put_state(newest)
    await backend.put_state(newest.model_copy(update={"version": 1}))
    assert durable.load(str(tmp_path / "state.json")) == newest


async def test_commits_are_listed_newest_first_without_those_that_are_lost(
    house: House, backend: MemberBackend
) -> None:
    first = await house.commit(b"1")
    second = await house.commit(b"22", first)
    third = await house.commit(b"333", second)
    await backend.put_state(house.state(house.dataset("photos", third, [first, second, "0" * 64])))
    assert [one.id for one in (await backend.commits("uid-photos")).commits] == [third, second, first]
    found = await backend.diff("uid-photos", first, third)
    assert (found.changed, found.changed_paths) == (1, ("a",))
    with pytest.raises(NotFound, match="forebay commits"):
        await backend.diff("uid-photos", first, "1" * 64)
    Path(house.files.path("commits", f"{second}.json")).write_bytes(b"{}")
    assert [one.id for one in (await backend.commits("uid-photos")).commits] == [third, first]
    (problem,) = (await backend.report()).catalog
    assert problem.name == f"commits/{second}.json"
    assert "forebay sync" in problem.message


async def test_a_dataset_nobody_applied_is_not_found(backend: MemberBackend) -> None:
    with pytest.raises(NotFound, match="UID none"):
        await backend.commits("none")
    assert await backend.sync("none") is None
    assert backend.metrics() == b"metrics"
