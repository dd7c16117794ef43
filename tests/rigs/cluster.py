"""Members in one process that share an origin and catalog files, and reach each other in memory."""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.rigs.memberships import entry, placement

from forebay_cache.catalog.commit import LeafCommit
from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.catalog.sources import Mapping
from forebay_cache.catalog.sync import run_sync
from forebay_cache.model.ids import CommitId, Extent, MemberId
from forebay_cache.origin.memory import MemoryOrigin
from forebay_cache.placement.lookup import Placement
from forebay_cache.read.answering import Answering
from forebay_cache.read.peers import Peers
from forebay_cache.read.reader import ChunkReader
from forebay_cache.store.disk import DiskStore
from forebay_cache.store.ledger import Limits
from forebay_cache.transfer.memory import MemoryNetwork, MemoryTransfer

IDS = [MemberId(entry(number).id) for number in range(4)]


@dataclass
class Member:
    id: MemberId
    store: DiskStore
    reader: ChunkReader
    peers: Peers

    async def read(self, extent: Extent) -> bytes:
        data = bytearray()
        async with aclosing(self.reader.pieces(extent)) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                data += os.pread(piece.fd, piece.length, piece.offset)
        return bytes(data)


@dataclass
class Cluster:
    """`placement` is what every member goes by; `epochs` replaces it for one of them. `clock`: by which members that fail are
    tried again."""

    members: list[Member]
    network: MemoryNetwork
    origin: MemoryOrigin
    commit: LeafCommit
    placement: Placement
    epochs: dict[MemberId, Placement] = field(default_factory=dict)
    clock: float = 0.0

    def content(self, key: bytes) -> bytes:
        return content(key, self.sizes[key])

    @property
    def sizes(self) -> dict[bytes, int]:
        return {entry.key: entry.size for entry in self.commit}

    async def read(self, member: int, key: bytes) -> bytes:
        found = self.commit.find(key)
        assert found
        return await self.members[member].read(found.extent)

    async def read_right(self, member: int, key: bytes) -> None:
        assert await self.read(member, key) == self.content(key), key

    async def read_all(self, orders: Sequence[tuple[int, Sequence[bytes]]], at_once: int = 4) -> None:
        """Each (member, keys) by `at_once` readers, all together; every byte must be right."""

        async def reader(member: int, keys: "AsyncIterator[bytes]") -> None:
            async for key in keys:
                await self.read_right(member, key)

        async with asyncio.TaskGroup() as group:
            for member, keys in orders:
                shared = _each(keys)
                for _ in range(at_once):
                    group.create_task(reader(member, _shared(shared)))

    async def settled(self) -> None:
        """Waits until no fill is under way."""
        async with asyncio.timeout(20):
            while any(len(m.reader._flights) + len(m.reader._foreign) for m in self.members) or self.origin.bodies_open:
                await asyncio.sleep(0.002)


def _each(keys: Sequence[bytes]) -> list[bytes]:
    return list(reversed(keys))


async def _shared(left: list[bytes]) -> AsyncIterator[bytes]:
    while left:
        yield left.pop()


def content(key: bytes, size: int) -> bytes:
    return random.Random(key).randbytes(size)


@asynccontextmanager
async def cluster(
    path: Path, sizes: dict[bytes, int], *, members: int = 3, serving: int = 3, capacity: int = 1 << 30
) -> AsyncIterator[Cluster]:
    """`members` processes' worth of parts, of which the first `serving` are in the placement."""
    origin = MemoryOrigin({key: content(key, size) for key, size in sizes.items()})
    files, network = CatalogFiles(str(path / "catalog")), MemoryNetwork(silent_s=0.0)
    sync = await run_sync(files, [Mapping(b"", b"", origin, b"")], None, 0, lambda *_: None)
    origin.counts.clear()
    house = Cluster([], network, origin, files.commit(CommitId(sync.id)), placement(entry(n) for n in range(serving)))
    async with AsyncExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(4))
        for number in range(members):
            house.members.append(member := _member(house, number, path, files, pool, capacity))
            stack.callback(member.store.close)
            stack.push_async_callback(member.reader.aclose)
        yield house
        await house.settled()
        assert network.answering == 0
        assert [member.store.check() for member in house.members] == [[]] * members


def _member(
    house: Cluster, number: int, path: Path, files: CatalogFiles, pool: ThreadPoolExecutor, capacity: int
) -> Member:
    me = IDS[number]
    store = DiskStore.open(str(path / f"store-{number}"), Limits(capacity), cluster_uid="test", boot_id="boot")
    reader = ChunkReader(store, files, lambda _: house.origin, pool, time.monotonic)
    transfer = MemoryTransfer(me, house.network)
    peers = Peers(me, lambda: house.epochs.get(me, house.placement), transfer, lambda: house.clock)
    reader.peers = peers
    house.network.sources[me] = Answering(reader, peers)
    return Member(me, store, reader, peers)
