"""Three members, one origin: each byte is fetched once, whoever reads it, and nobody fails because a member does."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.rigs.cluster import IDS, Cluster, cluster
from tests.rigs.memberships import after, entry

from forebay_cache.model.errors import OriginThrottled, PartGone
from forebay_cache.model.ids import CHUNK_SIZE, ChunkId
from forebay_cache.model.ranges import spans
from forebay_cache.origin.memory import Fault as OriginFault
from forebay_cache.transfer.memory import Fault

SEED = 20260101
SMALL = {b"s/%03d" % n: 50_000 + 4_000 * n for n in range(90)}
LARGE = {b"large": 3 * CHUNK_SIZE + 12_345, b"larger": 5 * CHUNK_SIZE + 1}
SIZES = SMALL | LARGE
SLICES = len(SMALL) + 4 + 6
"""GETs that bring everything: one an object, or one a slice."""


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path, SIZES) as found:
        yield found


def owner(house: Cluster, key: bytes) -> int:
    found = house.commit.find(key)
    assert found
    return IDS.index(house.placement.owner(next(spans(found.extent)).chunk))


def not_owner(house: Cluster, key: bytes) -> int:
    return (owner(house, key) + 1) % 3


def shuffled(seed: int) -> list[bytes]:
    return random.Random(seed).sample(sorted(SIZES), len(SIZES))


async def test_each_byte_is_fetched_once_by_readers_on_all_members(house: Cluster) -> None:
    print("seed", SEED)
    await house.read_all([(member, shuffled(SEED + member)) for member in range(3)])
    await house.settled()
    assert house.origin.bytes_sent == sum(SIZES.values())
    assert house.origin.counts["read"] == SLICES
    assert sum(member.store.stats().chunks for member in house.members) == len(
        {span.chunk for e in house.commit for span in spans(e.extent)}
    ), "each chunk is kept by one member"


async def test_a_second_epoch_asks_the_origin_for_nothing(house: Cluster) -> None:
    await house.read_all([(0, shuffled(SEED))])
    sent = house.origin.bytes_sent
    await house.read_all([(member, shuffled(SEED + member)) for member in (1, 2)])
    assert house.origin.bytes_sent == sent == sum(SIZES.values())


async def test_many_readers_of_one_file_are_one_ask_and_one_fetch(house: Cluster) -> None:
    key = b"s/007"
    member = not_owner(house, key)
    house.network.latency_s = 0.01
    await asyncio.gather(*(house.read_right(member, key) for _ in range(20)))
    await house.settled()
    assert house.network.asks[IDS[member], IDS[owner(house, key)]] == 1


async def test_what_passes_through_is_not_kept(house: Cluster) -> None:
    key = b"s/003"
    member = not_owner(house, key)
    await house.read_right(member, key)
    stats = house.members[member].store.stats()
    assert (stats.chunks, stats.partial) == (0, 0)
    assert house.members[member].reader.counters.peer_bytes >= SIZES[key]


async def test_a_request_from_a_peer_is_never_forwarded(house: Cluster) -> None:
    """Every member takes another for the owner of everything: each is asked once, and none asks on."""
    wrong = [after(house.placement, [entry((n + 1) % 3)]) for n in range(3)]
    house.epochs = {IDS[n]: wrong[n] for n in range(3)}
    await house.read_right(0, b"s/001")
    assert dict(house.network.asks) == {(IDS[0], IDS[1]): 1}
    await house.settled()


@pytest.mark.parametrize(
    "fault",
    [
        Fault(unreachable=True),
        Fault(lost_after=0),
        Fault(lost_after=1 << 20),
        Fault(stalled_after=2 << 20),
        Fault(flipped=True),
    ],
    ids=str,
)
async def test_readers_do_not_fail_because_an_owner_does(house: Cluster, fault: Fault) -> None:
    house.network.fault = lambda *_: fault
    await house.read_all([(member, shuffled(SEED + member)) for member in range(3)])
    await house.settled()


async def test_bytes_that_came_before_an_owner_was_lost_are_not_fetched_again(house: Cluster) -> None:
    """Its owner has the file; what another member got of it, the origin need not send."""
    found = house.commit.find(b"large")
    assert found
    chunk = ChunkId(found.extent.segment, 0)
    holder = IDS.index(house.placement.owner(chunk))
    await house.read_all([(holder, [b"large"])])
    await house.settled()
    sent = house.origin.bytes_sent
    house.network.fault = lambda _, to: Fault(lost_after=3 << 20) if to == IDS[holder] else None
    await house.read_right((holder + 1) % 3, b"large")
    await house.settled()
    lost = [n for n in range(4) if house.placement.owner(ChunkId(found.extent.segment, n)) == IDS[holder]]
    sizes = [min(CHUNK_SIZE, LARGE[b"large"] - n * CHUNK_SIZE) for n in lost]
    assert house.origin.bytes_sent - sent <= sum(max(0, size - (3 << 20)) for size in sizes)


async def test_a_dead_owner_is_not_asked_each_time(house: Cluster) -> None:
    house.network.fault = lambda *_: Fault(unreachable=True)
    await house.read_all([(0, shuffled(SEED))], at_once=1)
    await house.settled()
    assert sum(house.network.asks.values()) == 2, "one for each of the others"
    assert house.members[0].peers.counters.passed_by > 20
    house.network.fault = lambda *_: None
    house.clock += 2.0
    await house.read_all([(0, shuffled(SEED))], at_once=1)
    assert house.members[0].reader.counters.peer_bytes > 0, "asked again after a while"


async def test_a_busy_owner_is_asked_again(house: Cluster) -> None:
    key, tries = b"s/010", iter([Fault(busy=True)] * 3)
    house.network.fault = lambda *_: next(tries, None)
    await house.read_right(not_owner(house, key), key)
    await house.settled()
    assert house.origin.counts["read"] >= 1
    assert house.members[not_owner(house, key)].reader.counters.origins == {}, "the owner fetched it"


async def test_a_gone_object_is_told_and_the_origin_asked_once(house: Cluster) -> None:
    house.origin.put(b"s/020", b"other")
    with pytest.raises(PartGone):
        await house.read(not_owner(house, b"s/020"), b"s/020")
    assert house.members[not_owner(house, b"s/020")].reader.counters.origins == {}


async def test_an_origin_that_asks_for_fewer_requests_gets_no_second_asker(house: Cluster) -> None:
    house.origin.fault = lambda _: OriginFault(error=OriginThrottled("slow down"))
    with pytest.raises(OriginThrottled):
        await house.read(not_owner(house, b"s/020"), b"s/020")
    assert house.members[not_owner(house, b"s/020")].reader.counters.origins == {}


async def test_a_cancelled_reader_leaves_nothing_behind(house: Cluster) -> None:
    house.network.latency_s = 3600.0
    member = not_owner(house, b"s/005")
    reading = asyncio.ensure_future(house.read(member, b"s/005"))
    while not house.network.asks:
        await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await house.settled()
    house.network.latency_s = 0.0
    await house.read_right(member, b"s/005")


async def test_nothing_cached_is_fetched_again_when_a_member_joins(tmp_path: Path) -> None:
    async with cluster(tmp_path, SIZES, members=4, serving=2) as house:
        await house.read_all([(0, shuffled(SEED)), (1, shuffled(SEED + 1))])
        await house.settled()
        sent = house.origin.bytes_sent
        house.placement = after(house.placement, (entry(n) for n in range(4)))
        await house.read_all([(member, shuffled(SEED + member)) for member in range(4)])
        await house.settled()
        assert house.origin.bytes_sent == sent == sum(SIZES.values())


async def test_a_previous_owner_that_is_gone_costs_a_fetch_and_nothing_else(tmp_path: Path) -> None:
    async with cluster(tmp_path, SMALL, members=3, serving=2) as house:
        await house.read_all([(0, sorted(SMALL))])
        await house.settled()
        house.placement = after(house.placement, (entry(n) for n in range(3)))
        house.network.fault = lambda asker, to: Fault(unreachable=True) if asker == IDS[2] else None
        await house.read_all([(2, sorted(SMALL))])


async def test_a_member_alone_asks_nobody(tmp_path: Path) -> None:
    async with cluster(tmp_path, SMALL, members=1, serving=1) as house:
        await house.read_all([(0, sorted(SMALL))])
        assert not house.network.asks


async def test_members_of_different_epochs_still_read_right(tmp_path: Path) -> None:
    async with cluster(tmp_path, SIZES, members=3, serving=2) as house:
        house.epochs[IDS[1]] = after(house.placement, (entry(n) for n in range(3)))
        house.epochs[IDS[2]] = house.epochs[IDS[1]]
        await house.read_all([(member, shuffled(SEED + member)) for member in range(3)])
