"""A member gets what it is told to serve from those that have it, over the transfer in memory, between real catalogs."""

import asyncio
import itertools
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.rigs.gathered import history, needed, on_disk
from tests.rigs.memberships import CLUSTER, entry

from forebay_cache.catalog import garbage
from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.catalog.gathering import Gathering, finish, whole
from forebay_cache.catalog.giving import CatalogGiving
from forebay_cache.contract.config import ClusterState, DatasetState, DirectorySource, Source
from forebay_cache.member.gather import AGAIN_S, LANES, LOOK_S, Gatherer, Others
from forebay_cache.member.metrics import show_gathered
from forebay_cache.member.registry import Registry
from forebay_cache.member.roster import Roster
from forebay_cache.model.ids import CommitId, MemberId
from forebay_cache.origin.memory import MemoryOrigin
from forebay_cache.placement.epochs import advance, found
from forebay_cache.telemetry import Telemetry
from forebay_cache.transfer.base import FileName, Folder
from forebay_cache.transfer.memory import Fault, MemoryNetwork, MemoryTransfer

ENTRIES = [entry(number) for number in range(4)]
IDS = [MemberId(one.id) for one in ENTRIES]


async def in_place(gathering: Gathering) -> None:
    """As the child would, without the price of one."""
    await asyncio.to_thread(finish, gathering.files, gathering.commit, gathering.record_path)


@dataclass
class Member:
    """One with a catalog of its own, in a network of others."""

    number: int
    root: Path
    network: MemoryNetwork
    now_s: float = 0.0

    def __post_init__(self) -> None:
        self.files = CatalogFiles(str(self.root / f"catalog-{self.number}"))
        self.id = IDS[self.number]
        self.network.files[self.id] = CatalogGiving(self.files)
        self.registry = Registry(CLUSTER, self.files, lambda _: MemoryOrigin())
        self.roster = Roster(CLUSTER, str(self.root / f"membership-{self.number}"))
        others = Others(self.id, self.roster, MemoryTransfer(self.id, self.network))
        self.gatherer = Gatherer(self.files, self.registry, others, lambda: self.now_s, in_place)

    async def told(self, head: CommitId | None, retained: Sequence[CommitId] = (), members: int = 4) -> None:
        """What to serve, and who else there is."""
        await self.roster.offer(found(CLUSTER, ENTRIES[:members]))
        dataset = DatasetState(
            uid="uid",
            namespace="ns",
            name="set",
            bucket="set",
            sources=(Source(name="all", directory=DirectorySource(path="/x")),),
            head=head,
            retained=tuple(retained),
        )
        version = self.registry.snapshot.version + 1
        await self.registry.apply(ClusterState(version=version, cluster_uid=CLUSTER, datasets=(dataset,)))

    @property
    def head(self) -> CommitId | None:
        head = self.registry.served("uid").head
        return head.id if head else None

    async def later(self, by_s: float = AGAIN_S) -> None:
        self.now_s += by_s
        await self.gatherer.look()


@dataclass
class World:
    """`syncer` has `commits`; `member` is another."""

    root: Path
    network: MemoryNetwork = field(default_factory=MemoryNetwork)
    commits: list[CommitId] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.syncer, self.member = self.another(0), self.another(1)
        self.another(2), self.another(3)

    def another(self, number: int) -> Member:
        return Member(number, self.root, self.network)

    @property
    def asks(self) -> int:
        return self.network.asks.total()

    def fails(self, fault: Callable[[MemberId], Fault | None]) -> None:
        """What goes wrong with each ask of a member, by who is asked."""
        self.network.fault = lambda _, asked: fault(asked)


@pytest.fixture
async def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.commits = await history(made.syncer.files, MemoryOrigin())
    return made


async def test_what_another_synced_is_served_here(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    member, head = world.member, world.commits[-1]
    await member.told(head)
    assert member.head is None
    await member.gatherer.look()
    assert member.head == head
    assert on_disk(member.files) == needed(world.syncer.files, head)
    assert [one.message for one in caplog.records if one.name == "forebay.catalog"] == ["commit gathered"]
    counters = member.gatherer.counters
    assert (counters.commits, counters.failed, counters.refused) == (1, 0, 0)
    telemetry = Telemetry()
    show_gathered(telemetry, counters)
    assert b"forebay_gather_commits_total 1" in telemetry.exposition()
    assert counters.files == len([name for name in on_disk(member.files) if name[:3] not in ("ima", "dev")])


async def test_every_file_of_the_commit_can_be_found_by_its_parts_table(world: World) -> None:
    member = world.member
    await member.told(world.commits[-1])
    await member.gatherer.look()
    commit = await member.registry.commit(world.commits[-1])
    assert commit.file_count == 13
    for one in commit:
        part = member.files.parts(one.extent.segment).at(one.extent.offset)
        assert (part.key, part.size, part.etag) == (one.key, one.size, one.etag)
    assert os.path.getsize(member.files.image_path(commit.id)) > 0
    assert member.files.device_table(commit.id)


async def test_retained_commits_come_as_well_the_head_first(world: World) -> None:
    member, commits = world.member, world.commits
    await member.told(commits[-1], commits[:-1])
    order: list[str] = []
    inner = member.registry.reopen

    async def reopen() -> None:
        order.append(min(set(member.files.commit_ids()) - set(order)))
        await inner()

    member.registry.reopen = reopen  # type: ignore[method-assign]
    await member.gatherer.look()
    assert order[0] == commits[-1]
    assert set(order) == set(commits)
    assert all(whole(member.files, commit) for commit in commits)


@pytest.mark.parametrize("members", [0, 1])
async def test_who_is_alone_does_nothing(world: World, members: int) -> None:
    await world.syncer.told(world.commits[-1], [CommitId("ab" * 32)], members=1)
    if not members:
        world.syncer.roster.placement = None
    await world.syncer.gatherer.look()
    assert world.asks == 0
    assert world.syncer.gatherer.counters.failed == 0


async def test_what_is_whole_is_not_asked_for(world: World) -> None:
    await world.syncer.told(world.commits[-1])
    for _ in range(3):
        await world.syncer.later()
    assert world.asks == 0


async def test_before_the_first_state_nothing_is_done(world: World) -> None:
    await world.member.roster.offer(found(CLUSTER, ENTRIES))
    await world.member.gatherer.look()
    assert world.asks == 0


async def test_what_is_damaged_on_its_way_is_refused(world: World, caplog: pytest.LogCaptureFixture) -> None:
    member = world.member
    world.fails(lambda _: Fault(flipped=True))
    await member.told(world.commits[-1])
    await member.gatherer.look()
    assert member.head is None
    assert not on_disk(member.files)
    assert not os.listdir(member.files.path("tmp"))
    assert member.gatherer.counters.refused == 1
    assert [one.message for one in caplog.records if one.name == "forebay.catalog"] == ["commit not gathered"]
    world.fails(lambda _: None)
    await member.later()
    assert member.head == world.commits[-1]


@pytest.mark.parametrize("bad", [0, 1])
async def test_what_one_has_damaged_comes_from_another(world: World, bad: int) -> None:
    second, third, head = world.member, world.another(2), world.commits[-1]
    await second.told(head)
    await second.gatherer.look()
    world.fails(lambda asked: Fault(flipped=True) if asked == IDS[bad] else None)
    await third.told(head)
    await third.gatherer.look()
    assert third.head == head
    assert third.gatherer.counters.refused > 0
    wanted = needed(world.syncer.files, head)
    found = on_disk(third.files)
    merged = {name for name in wanted if name.startswith("ancestors")}
    assert wanted.items() - found.items() <= {(name, wanted[name]) for name in merged}, "a hint may be missing"


@pytest.mark.parametrize("nth", [1, 2, 4, 7, 11])
async def test_who_is_lost_midway_is_gone_on_with_later(world: World, nth: int) -> None:
    member, head = world.member, world.commits[-1]
    asked = [0]

    def fault(who: MemberId) -> Fault | None:
        asked[0] += who == world.syncer.id
        return Fault(lost_after=0) if asked[0] > nth else None

    world.fails(fault)
    await member.told(head)
    await member.gatherer.look()
    wanted = needed(world.syncer.files, head)
    if member.head is None:
        assert f"commits/{head}.json" not in on_disk(member.files)
        assert on_disk(member.files).items() < wanted.items()
    had = len(on_disk(member.files))
    world.fails(lambda _: None)
    before = member.gatherer.counters.files
    await member.later()
    assert member.head == head
    assert on_disk(member.files) == wanted
    brought = member.gatherer.counters.files - before
    assert brought == len(wanted) - had - 2 or not brought, "what came was kept; image and devices are made here"


async def test_where_one_is_lost_another_goes_on(world: World) -> None:
    second, third, head = world.member, world.another(2), world.commits[-1]
    await second.told(head)
    await second.gatherer.look()
    asked = [0]

    def fault(who: MemberId) -> Fault | None:
        asked[0] += who == world.syncer.id
        return Fault(unreachable=True) if who == world.syncer.id and asked[0] > 3 else None

    world.fails(fault)
    await third.told(head)
    await third.gatherer.look()
    assert third.head == head
    assert on_disk(third.files) == on_disk(second.files)


async def test_one_that_nobody_has_is_asked_for_less_and_less_and_told_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    member = world.member
    await member.told(CommitId("ab" * 32))
    tries: list[float] = []
    for _ in range(300):
        before = world.asks
        await member.later(LOOK_S)
        if world.asks > before:
            tries.append(member.now_s)
    pauses = [b - a for a, b in itertools.pairwise(tries)]
    assert pauses == sorted(pauses)
    assert pauses[0] == LOOK_S
    assert pauses[-1] == AGAIN_S
    assert [one.message for one in caplog.records if one.name == "forebay.catalog"] == ["commit not gathered"]


async def test_a_new_epoch_is_a_new_try(world: World) -> None:
    member = world.member
    await member.told(CommitId("ab" * 32))
    await member.gatherer.look()
    before = world.asks
    await member.gatherer.look()
    assert world.asks == before
    assert member.roster.placement
    await member.roster.offer(advance(member.roster.placement, ENTRIES[:3]).model_copy())
    await member.gatherer.look()
    assert world.asks == before + 2


async def test_one_commit_that_cannot_be_had_keeps_no_other(world: World) -> None:
    member = world.member
    await member.told(CommitId("00" * 32), world.commits[-2:])
    await member.gatherer.look()
    assert all(whole(member.files, commit) for commit in world.commits[-2:])


async def test_holders_are_asked_first_and_nobody_asks_itself(world: World) -> None:
    member = world.member
    await member.told(world.commits[-1])
    placement = member.roster.placement
    assert placement
    others = Others(member.id, member.roster, MemoryTransfer(member.id, world.network))
    for number in range(50):
        name = FileName(Folder.LEAVES, bytes([number]) * 32)
        asked = others.having(name, IDS[3])
        holders = [one for one in placement.choose_holders(name.id.hex()) if one != member.id]
        assert list(asked[: len(holders)]) == holders
        assert sorted(asked) == sorted(set(IDS) - {member.id})


async def test_no_more_files_than_lanes_are_asked_for_at_once(world: World) -> None:
    most = [0]

    def fault(_: MemberId) -> Fault | None:
        most[0] = max(most[0], world.network.answering)
        return None

    world.fails(fault)
    world.network.latency_s = 0.001
    await world.member.told(world.commits[-1])
    await world.member.gatherer.look()
    assert world.member.head
    assert most[0] < LANES + 1


async def test_while_the_catalog_is_cleaned_it_waits_its_turn(world: World) -> None:
    member = world.member
    await member.told(world.commits[-1])
    lock = garbage.lock_catalog(member.files.root, garbage.fcntl.LOCK_EX)
    await member.gatherer.look()
    assert member.head is None
    os.close(lock)
    await member.later(LOOK_S)
    assert member.head == world.commits[-1]


def descriptors() -> dict[str, str]:
    """Those open now, and what they are."""
    found = {}
    for fd in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the listing's own
            found[fd] = str(Path("/proc/self/fd", fd).readlink())
    return found


@pytest.mark.parametrize("nth", [1, 3, 6, 9])
async def test_who_is_cancelled_leaves_nothing_behind(world: World, nth: int) -> None:
    member, asked, stuck = world.member, [0], asyncio.Event()

    def fault(who: MemberId) -> Fault | None:
        asked[0] += who == world.syncer.id
        return Fault(stalled_after=0) if asked[0] > nth else None

    async def sleep(_: float) -> None:
        stuck.set()
        await asyncio.Event().wait()

    world.fails(fault)
    world.network.sleep = sleep
    await member.told(world.commits[-1])
    before = descriptors()
    task = asyncio.ensure_future(member.gatherer.run())
    async with asyncio.timeout(20):
        await stuck.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert world.network.answering == 0
    assert not os.listdir(member.files.path("tmp"))
    assert garbage.collect(member.files, lambda _: True) is not None, "the lock is free"
    async with asyncio.timeout(20):
        while descriptors() != before:  # a thread of the giver's may still be at it
            await asyncio.sleep(0.001)


async def test_what_is_lost_later_comes_again(world: World) -> None:
    member, head = world.member, world.commits[-1]
    await member.told(head)
    await member.gatherer.look()
    before = on_disk(member.files)
    for path in Path(member.files.path("leaves")).iterdir():
        path.unlink()
    await member.gatherer.look()
    assert on_disk(member.files) != before
    await member.later()
    assert on_disk(member.files) == before
