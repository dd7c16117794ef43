"""Reads of a merged segment: from the store's ancestor chunks, else the origin, once for each part."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from forebay_cache.catalog.commit import LeafCommit
from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.catalog.garbage import collect
from forebay_cache.catalog.sources import Mapping
from forebay_cache.catalog.sync import run_sync
from forebay_cache.model.errors import PartGone
from forebay_cache.model.ids import CHUNK_SIZE, ChunkId, CommitId
from forebay_cache.origin.memory import MemoryOrigin
from forebay_cache.read.reader import ChunkReader
from forebay_cache.store.disk import DiskStore
from forebay_cache.store.layout import complete_name, partial_name
from forebay_cache.store.ledger import Limits


@dataclass
class House:
    files: CatalogFiles
    store: DiskStore
    reader: ChunkReader
    origin: MemoryOrigin
    path: Path

    async def grown(self, count: int, parent: LeafCommit | None = None) -> LeafCommit:
        """A file and a sync, `count` times."""
        commit = parent
        for n in range(count):
            number = n + (parent.file_count if parent else 0)
            self.origin.put(b"f/%03d" % number, content(number))
            sync = run_sync(self.files, [Mapping(b"", b"", self.origin, b"")], commit and commit.id, 0, lambda *_: None)
            commit = self.files.commit(CommitId((await sync).id))
        assert commit is not None
        return commit

    async def read(self, commit: LeafCommit, key: bytes) -> bytes:
        entry = commit.find(key)
        assert entry is not None
        data = bytearray()
        async with aclosing(self.reader.pieces(entry.extent)) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                data += os.pread(piece.fd, piece.length, piece.offset)
        await self.reader.headers(entry)
        return bytes(data)

    async def reads_all(self, commit: LeafCommit) -> int:
        """-> requests that cost. Every file must be right."""
        before = sum(self.origin.counts[kind] for kind in ("read", "head"))
        for entry in commit:
            assert await self.read(commit, entry.key) == content(int(entry.key[2:]))
        return sum(self.origin.counts[kind] for kind in ("read", "head")) - before

    def damage(self, chunk: ChunkId, offset: int) -> None:
        for name in (complete_name(chunk), partial_name(chunk)):
            path = self.path / "chunks" / name
            if path.exists():
                with open(path, "r+b") as file:
                    file.seek(offset)
                    file.write(b"damage")


def content(number: int) -> bytes:
    return b"%03d" % number * (1000 + 7 * number)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    store = DiskStore.open(str(tmp_path / "store"), Limits(1 << 30), cluster_uid="test", boot_id="boot")
    files, origin = CatalogFiles(str(tmp_path / "catalog")), MemoryOrigin()
    with ThreadPoolExecutor(4) as pool, closing(store):
        reader = ChunkReader(store, files, lambda _: origin, pool, time.monotonic)
        yield House(files, store, reader, origin, tmp_path / "store")
        await reader.aclose()
        assert store.check() == []


async def test_cached_ancestors_spare_the_origin_every_request(house: House) -> None:
    before = await house.grown(3)
    assert await house.reads_all(before) == 3
    after = await house.grown(1, before)
    assert after.segments() != before.segments()
    assert len(after.segments()) == 1
    assert await house.reads_all(after) == 1, "the new file"
    assert house.reader.counters.copied_bytes == sum(len(content(n)) for n in range(3))
    assert await house.reads_all(after) == 0
    assert await house.reads_all(before) == 0, "nothing of the older commit changed"


async def test_without_ancestors_each_part_is_one_request(house: House) -> None:
    after = await house.grown(4)
    assert await house.reads_all(after) == 4
    assert house.reader.counters.copied_bytes == 0


async def test_ancestors_that_are_here_in_part_spare_their_part(house: House) -> None:
    before = await house.grown(3)
    assert await house.read(before, b"f/001") == content(1)
    after = await house.grown(1, before)
    assert await house.reads_all(after) == 3


async def test_a_job_that_slept_through_many_merges_still_finds_its_bytes(house: House) -> None:
    before = await house.grown(3)
    await house.reads_all(before)
    after = await house.grown(15, before)
    collect(house.files, {after.id}.__contains__)
    assert set(after.segments()).isdisjoint(before.segments())
    assert await house.reads_all(after) == 15


async def test_a_damaged_ancestor_is_not_copied(house: House) -> None:
    before = await house.grown(3)
    await house.reads_all(before)
    after = await house.grown(1, before)
    entry = before.find(b"f/001")
    assert entry is not None
    house.damage(ChunkId(entry.extent.segment, 0), entry.extent.offset + 100)
    assert await house.reads_all(after) == 2


async def test_an_object_that_is_gone_lives_on_in_its_ancestor(house: House) -> None:
    before = await house.grown(3)
    await house.reads_all(before)
    after = await house.grown(1, before)
    house.origin.put(b"f/001", b"other")
    house.origin.delete(b"f/002")
    assert await house.reads_all(after) == 1
    for segment in (*before.segments(), *after.segments()):
        while not house.store.evict(ChunkId(segment, 0)):
            await asyncio.sleep(0)  # its last fill is landing
    with pytest.raises(PartGone):
        await house.read(after, b"f/001")


async def test_a_sidecar_that_cannot_be_read_costs_requests_and_nothing_else(house: House) -> None:
    before = await house.grown(3)
    await house.reads_all(before)
    after = await house.grown(1, before)
    name = after.segments()[0].hex()
    Path(house.files.path("ancestors", name[:2], name)).write_bytes(b"?")
    house.reader._catalog._ancestries.clear()  # type: ignore[attr-defined]
    assert await house.reads_all(after) == 4


async def test_a_file_that_fills_a_chunk_is_copied_with_all_that_is_behind_it(house: House) -> None:
    for n in range(3):
        house.origin.put(b"f/%03d" % n, bytes([n]) * (CHUNK_SIZE - 5000 * n))
        sync = run_sync(house.files, [Mapping(b"", b"", house.origin, b"")], None, 0, lambda *_: None)
        commit = house.files.commit(CommitId((await sync).id))
        await house.read(commit, b"f/%03d" % n)
    requests = house.origin.counts["read"]
    house.origin.delete(b"f/000")
    house.origin.delete(b"f/001")
    sync = run_sync(house.files, [Mapping(b"", b"", house.origin, b"")], commit.id, 0, lambda *_: None)
    last = house.files.commit(CommitId((await sync).id))
    assert last.segments() != commit.segments()
    assert await house.read(last, b"f/002") == bytes([2]) * (CHUNK_SIZE - 10000)
    assert house.origin.counts["read"] == requests
