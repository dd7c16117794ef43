"""What a member serves follows the newest state, and nobody waits while it is opened."""

import asyncio
import threading
from pathlib import Path

import pytest
from tests.cache.member.conftest import House

from forebay_cache.catalog.base import Commit
from forebay_cache.contract.config import ClusterState
from forebay_cache.model.errors import ConfigError, NotFound
from forebay_cache.model.ids import CommitId


async def test_a_newer_state_is_served_and_an_older_one_is_not(house: House) -> None:
    assert house.registry.named() is None
    head = await house.commit(b"1")
    old, new = house.state(house.dataset("photos", None)), house.state(house.dataset("photos", head))
    assert await house.registry.apply(new)
    assert not await house.registry.apply(old)
    served = house.registry.snapshot.by_bucket["photos"]
    assert served.head
    assert served.head.id == head
    assert house.registry.named() == {head}


async def test_another_clusters_state_is_refused(house: House) -> None:
    with pytest.raises(ConfigError, match="other"):
        await house.registry.apply(ClusterState(version=1, cluster_uid="other"))


async def test_every_commit_that_a_dataset_has_is_named_and_can_be_read(house: House) -> None:
    first = await house.commit(b"1")
    second = await house.commit(b"2", first)
    third = await house.commit(b"3", second)
    stranger = await house.commit(b"4", third)
    await house.registry.apply(house.state(house.dataset("photos", third, [first], latest=second)))
    assert house.registry.named() == {first, second, third}
    for commit in (first, second, third):
        assert (await house.registry.commit(commit)).id == commit
        assert house.registry.resolve("uid-photos", commit).commit == commit
    assert house.registry.resolve("uid-photos").commit == second
    with pytest.raises(NotFound):
        await house.registry.commit(stranger)
    with pytest.raises(NotFound, match="no longer has"):
        house.registry.resolve("uid-photos", stranger)


async def test_nobody_waits_while_commits_are_opened(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk hangs; the loop does not. States are served in the order in which they came."""
    head = await house.commit(b"1")
    gate, opening, real = threading.Event(), threading.Event(), house.files.commit

    def slow(commit: CommitId) -> Commit:
        opening.set()
        assert gate.wait(60)
        return real(commit)

    monkeypatch.setattr(house.files, "commit", slow)
    first = asyncio.ensure_future(house.registry.apply(house.state(house.dataset("photos", head))))
    second = asyncio.ensure_future(house.registry.apply(house.state()))
    while not opening.is_set():
        await asyncio.sleep(0.001)  # the loop runs on
    assert house.registry.snapshot.version == -1
    assert not first.done()
    gate.set()
    assert await first
    assert await second
    assert house.registry.snapshot.version == 2


async def test_a_head_that_is_damaged_is_told_once_and_served_again_when_it_is_healed(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    head = await house.commit(b"1")
    record = Path(house.files.path("commits", f"{head}.json"))
    good = record.read_bytes()
    record.write_bytes(good[:-30])
    for _ in range(3):
        await house.registry.apply(house.state(house.dataset("photos", head)))
        assert house.registry.snapshot.by_uid["uid-photos"].head is None
    assert [one.getMessage() for one in caplog.records] == ["catalog file damaged, set aside", "head not served"]
    await house.registry.reopen()
    record.write_bytes(good)
    await house.registry.reopen()
    served = house.registry.snapshot.by_uid["uid-photos"]
    assert served.head
    before = house.registry.snapshot
    await house.registry.reopen()  # nothing to look for
    assert house.registry.snapshot is before


async def test_a_head_that_is_served_stays_whatever_becomes_of_its_files(house: House) -> None:
    head = await house.commit(b"1")
    await house.registry.apply(house.state(house.dataset("photos", head)))
    for path in Path(house.files.root).rglob("*"):
        path.unlink() if path.is_file() else None
    await house.registry.apply(house.state(house.dataset("photos", head)))
    served = house.registry.snapshot.by_uid["uid-photos"]
    assert served.head
    assert [entry.key for entry in served.head] == [b"a"]


@pytest.mark.parametrize("ask", ["origin", "served", "resolve"])
async def test_what_nobody_named_is_not_found(house: House, ask: str) -> None:
    with pytest.raises(NotFound):
        getattr(house.registry, ask)("none")
