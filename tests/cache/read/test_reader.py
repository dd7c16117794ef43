"""The read path over a real store on disk and the in-memory origin."""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from forebay_cache.catalog.base import Ancestor, Entry, Part
from forebay_cache.model.errors import OriginUnavailable, PartGone, StoreFull
from forebay_cache.model.ids import CHUNK_SIZE, ChunkId, Extent, SegmentId, round_up
from forebay_cache.origin.base import Match, ObjectHead, OriginObject
from forebay_cache.read import gone
from forebay_cache.read.base import Piece
from forebay_cache.read.reader import ChunkReader
from forebay_cache.store.disk import DiskStore
from forebay_cache.store.ledger import Limits


@dataclass(frozen=True)
class Table:
    """A parts table of objects with these sizes, packed end to end."""

    segment: SegmentId
    sizes: tuple[int, ...]
    origin: str = "memory"

    def __len__(self) -> int:
        return len(self.sizes)

    def part(self, index: int) -> Part:
        offset = sum(round_up(size, 4096) for size in self.sizes[:index])
        return Part(index, offset, self.sizes[index], key(self.segment, index), f"e{index}", None)

    @property
    def size(self) -> int:
        return sum(round_up(size, 4096) for size in self.sizes)

    def within(self, start: int, stop: int) -> list[Part]:
        every = [self.part(index) for index in range(len(self.sizes))]
        return [p for p in every if p.offset < stop and p.offset + round_up(p.size, 4096) > start]

    def at(self, offset: int) -> Part:
        return self.within(offset, offset + 1)[0]


def key(segment: SegmentId, index: int) -> bytes:
    return b"%s/%d" % (segment[:4].hex().encode(), index)


def content(name: bytes, size: int) -> bytes:
    return random.Random(name).randbytes(size)


@dataclass
class FewTables:
    tables: dict[SegmentId, Table]
    recorded: dict[tuple[SegmentId, int], Mapping[str, str]] = field(default_factory=dict)

    def parts(self, segment: SegmentId) -> Table:
        return self.tables[segment]

    opened = parts

    def ancestors(self, segment: SegmentId, part: int) -> list[Ancestor]:
        return []

    def headers(self, segment: SegmentId, part: int) -> Mapping[str, str] | None:
        return self.recorded.get((segment, part))

    def record_headers(self, segment: SegmentId, part: int, headers: Mapping[str, str]) -> None:
        self.recorded[(segment, part)] = headers


class Answer:
    """A body in small buffers, each released by the origin's gate."""

    def __init__(self, origin: "GatedOrigin", head: ObjectHead, data: bytes) -> None:
        self.head = head
        self._origin = origin
        self._data = data

    async def __aiter__(self) -> AsyncIterator[memoryview]:
        for at in range(0, len(self._data), 100_000):
            await self._origin.gate.wait()
            self._origin.sent += 1
            yield memoryview(self._data)[at : at + 100_000]
            if self._origin.stop_after and self._origin.sent >= self._origin.stop_after:
                self._origin.gate.clear()

    async def aclose(self) -> None:
        self._origin.closed += 1


@dataclass
class GatedOrigin:
    """An origin whose bytes flow only while its gate is open, and which counts what is asked of it."""

    tables: dict[SegmentId, Table]
    identity: str = "memory"
    strong: bool = True
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    reads: list[tuple[bytes, int, int]] = field(default_factory=list)
    heads: int = 0
    closed: int = 0
    sent: int = 0
    stop_after: int = 0
    errors: dict[bytes, Exception] = field(default_factory=dict)

    def size(self, name: bytes) -> int:
        return {p.key: p.size for t in self.tables.values() for p in map(t.part, range(len(t)))}[name]

    async def head(self, name: bytes, match: Match = Match()) -> ObjectHead:
        self.heads += 1
        return ObjectHead(OriginObject(name, self.size(name), 0, match.etag), {"content-type": "image/jpeg"})

    async def read(self, name: bytes, start: int, stop: int, match: Match = Match()) -> Answer:
        self.reads.append((name, start, stop))
        if name in self.errors:
            raise self.errors[name]
        head = ObjectHead(OriginObject(name, self.size(name), 0, match.etag), {"content-type": "text/plain"})
        return Answer(self, head, content(name, self.size(name))[start:stop])


BIG, SMALL, MANY = SegmentId(b"B" * 32), SegmentId(b"S" * 32), SegmentId(b"M" * 32)
TABLES = {
    MANY: Table(MANY, (CHUNK_SIZE // 2,) * 6),
    BIG: Table(BIG, (2 * CHUNK_SIZE + 12345,)),
    SMALL: Table(SMALL, (100_000, 5_000, 1, 300_000, 4096)),
}


@dataclass
class House:
    reader: ChunkReader
    store: DiskStore
    origin: GatedOrigin
    catalog: FewTables
    pool: ThreadPoolExecutor

    async def read(self, extent: Extent) -> bytes:
        async with aclosing(self.reader.pieces(extent)) as pieces:  # type: ignore[type-var]
            return b"".join([os.pread(p.fd, p.length, p.offset) async for p in pieces])

    def expected(self, extent: Extent) -> bytes:
        table = TABLES[extent.segment]
        data = b"".join(
            content(p.key, p.size).ljust(round_up(p.size, 4096), b"\0") for p in map(table.part, range(len(table)))
        )
        return data[extent.offset : extent.offset + extent.length]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    limits = Limits(100 * CHUNK_SIZE)
    store = DiskStore.open(str(tmp_path / "store"), limits, cluster_uid="c", boot_id="boot")
    pool = ThreadPoolExecutor(4)
    origin, catalog = GatedOrigin(TABLES), FewTables(TABLES)
    origin.gate.set()
    reader = ChunkReader(store, catalog, lambda _: origin, pool, lambda: 0.0)  # type: ignore[arg-type]
    yield House(reader, store, origin, catalog, pool)
    origin.gate.set()
    await reader.aclose()
    problems = store.check()
    store.close()
    pool.shutdown()
    assert problems == []


def whole(segment: SegmentId) -> Extent:
    return Extent(segment, 0, TABLES[segment].size)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.001)


async def test_every_byte_comes_right_and_a_second_read_asks_nobody(house: House) -> None:
    for segment in TABLES:
        assert await house.read(whole(segment)) == house.expected(whole(segment))
    await house.reader.aclose()
    asked = len(house.origin.reads)
    for segment in TABLES:
        assert await house.read(whole(segment)) == house.expected(whole(segment))
    assert len(house.origin.reads) == asked
    assert asked == 3 + 5 + 6


async def test_what_the_policy_does_not_let_in_is_read_past_the_store(house: House) -> None:
    """Exactly the blocks that were asked for, and nothing else: no rest of its chunk, nothing read ahead."""
    asked: list[tuple[ChunkId, int, int]] = []

    def admits(chunk: ChunkId, size: int, length: int) -> bool:
        asked.append((chunk, size, length))
        return False

    house.store.admits = admits  # type: ignore[method-assign]
    extent = Extent(BIG, CHUNK_SIZE - 10_000, 20_000)
    assert await house.read(extent) == house.expected(extent)
    assert await house.read(Extent(SMALL, 0, 100_000)) == house.expected(Extent(SMALL, 0, 100_000))
    await house.reader.aclose()
    assert house.store.stats().chunks == house.store.stats().partial == 0
    assert [one for one in asked if one[1]] == [
        (ChunkId(BIG, 0), 10_000, CHUNK_SIZE),
        (ChunkId(BIG, 1), 10_000, CHUNK_SIZE),
        (ChunkId(SMALL, 0), 100_000, TABLES[SMALL].size),
    ]
    assert sum(stop - start for _, start, stop in house.origin.reads) <= 3 * 12_288 + 100_000


async def test_many_readers_are_one_fill(house: House) -> None:
    extent = Extent(BIG, 1000, 2_000_000)
    answers = await asyncio.gather(*(house.read(extent) for _ in range(20)))
    assert set(answers) == {house.expected(extent)}
    assert house.origin.reads.count((key(BIG, 0), 0, CHUNK_SIZE)) == 1


async def test_first_bytes_leave_while_the_fill_runs(house: House) -> None:
    house.origin.stop_after = 2
    async with aclosing(house.reader.pieces(Extent(BIG, 0, CHUNK_SIZE))) as pieces:  # type: ignore[type-var]
        first: Piece = await anext(pieces)
        assert os.pread(first.fd, first.length, first.offset) == house.expected(Extent(BIG, 0, first.length))
        assert first.length < CHUNK_SIZE
        house.origin.stop_after = 0
        house.origin.gate.set()
        rest = b"".join([os.pread(p.fd, p.length, p.offset) async for p in pieces])
    assert len(rest) == CHUNK_SIZE - first.length


async def test_the_file_asked_for_comes_first_and_the_rest_of_its_chunk_after(house: House) -> None:
    third = TABLES[SMALL].part(2)
    assert await house.read(Extent(SMALL, third.offset, 1)) == content(third.key, 1)
    assert house.origin.reads[0][0] == third.key
    while (lease := house.store.lease(ChunkId(SMALL, 0), 0, TABLES[SMALL].size)) is None:
        await asyncio.sleep(0)
    lease.close()
    assert len(house.origin.reads) == 5


async def test_a_cancelled_read_leaves_nothing_behind(house: House) -> None:
    house.origin.gate.clear()
    task = asyncio.ensure_future(house.read(whole(BIG)))
    while not house.origin.reads:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await house.reader.aclose()
    assert house.origin.closed == len(house.origin.reads)
    house.origin.gate.set()
    assert await house.read(whole(BIG)) == house.expected(whole(BIG))


async def test_one_leaving_reader_does_not_stop_the_other(house: House) -> None:
    house.origin.gate.clear()
    extent = Extent(BIG, 0, CHUNK_SIZE)
    first, second = asyncio.ensure_future(house.read(extent)), asyncio.ensure_future(house.read(extent))
    while not house.origin.reads:
        await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    house.origin.gate.set()
    assert await second == house.expected(extent)
    assert house.origin.reads.count((key(BIG, 0), 0, CHUNK_SIZE)) == 1


async def test_a_gone_part_is_an_error_for_its_own_bytes_only(house: House) -> None:
    table = TABLES[SMALL]
    house.origin.errors[table.part(1).key] = PartGone("object is gone")
    with pytest.raises(PartGone):
        await house.read(Extent(SMALL, table.part(1).offset, 5000))
    assert await house.read(Extent(SMALL, 0, 100_000)) == house.expected(Extent(SMALL, 0, 100_000))
    assert house.store.lease(ChunkId(SMALL, 0), table.part(1).offset, table.part(1).offset + 10) is None


async def test_a_chunk_is_complete_when_nothing_is_missing_but_what_is_gone(house: House) -> None:
    table = TABLES[SMALL]
    house.origin.errors[table.part(1).key] = PartGone("object is gone")
    assert await house.read(Extent(SMALL, 0, 100_000)) == house.expected(Extent(SMALL, 0, 100_000))
    await until(lambda: house.store.stats().chunks == 1)  # the rest was filled up in the background
    with pytest.raises(PartGone):
        await house.read(Extent(SMALL, table.part(1).offset, 5000))
    await until(lambda: not len(house.reader._flights))
    asked = len(house.origin.reads)
    for index in (0, 2, 3, 4):
        part = table.part(index)
        extent = Extent(SMALL, part.offset, part.size)
        assert await house.read(extent) == house.expected(extent)
    assert len(house.origin.reads) == asked
    assert (house.store.stats().chunks, house.store.stats().partial) == (1, 0)


async def test_a_gone_part_that_comes_back_is_served(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gone, "REMEMBER_S", 0.0)
    table = TABLES[SMALL]
    house.origin.errors[table.part(1).key] = PartGone("object is gone")
    await house.read(Extent(SMALL, 0, 100_000))
    await until(lambda: house.store.stats().chunks == 1)
    house.origin.errors.clear()
    assert await house.read(whole(SMALL)) == house.expected(whole(SMALL))
    await until(lambda: house.store.lease(ChunkId(SMALL, 0), 0, TABLES[SMALL].size) is not None)


async def test_a_chunk_of_which_all_is_gone_is_none(house: House) -> None:
    house.origin.errors[key(BIG, 0)] = PartGone("object is gone")
    with pytest.raises(PartGone):
        await house.read(Extent(BIG, 0, 100))
    await until(lambda: not len(house.reader._flights))
    assert house.store.stats().chunks == 0


async def test_an_unreachable_origin_is_counted_named_and_tried_again(house: House) -> None:
    table = TABLES[SMALL]
    house.origin.errors[table.part(0).key] = OriginUnavailable("connection refused")
    with pytest.raises(OriginUnavailable, match="refused"):
        await house.read(Extent(SMALL, 0, 100))
    assert house.reader.counters.origin("memory").errors == 1
    assert house.reader.counters.origin("memory").message == "connection refused"
    house.origin.errors.clear()
    assert await house.read(Extent(SMALL, 0, 100)) == house.expected(Extent(SMALL, 0, 100))


async def test_a_full_store_costs_the_cache_not_the_read(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise StoreFull("no room for chunk")

    monkeypatch.setattr(house.reader._flights, "_reserve", full)
    for extent in (Extent(BIG, 12_345, 9_000_000), Extent(SMALL, 4096, 150_000)):
        assert await house.read(extent) == house.expected(extent)
    assert house.store.stats().chunks == 0


async def test_a_fill_that_meets_a_full_disk_goes_on_through_memory(house: House) -> None:
    reserve = house.store.reserve

    class Limited:
        def __init__(self, fill: object) -> None:
            self._fill, self._written = fill, 0

        def __getattr__(self, name: str) -> object:
            return getattr(self._fill, name)

        def write(self, offset: int, data: bytes) -> None:
            self._written += len(data)
            if self._written > 1_000_000:
                raise StoreFull("no space left on device")
            self._fill.write(offset, data)  # type: ignore[attr-defined]

    house.reader._flights._reserve = lambda chunk, length: Limited(reserve(chunk, length))  # type: ignore[assignment, return-value]
    extent = Extent(BIG, 0, CHUNK_SIZE)
    assert await house.read(extent) == house.expected(extent)


async def test_headers_are_recorded_by_a_fill_or_asked_once(house: House) -> None:
    table = TABLES[SMALL]
    entries = [Entry(p.key, p.size, 0, p.etag, Extent(SMALL, p.offset, p.size)) for p in map(table.part, range(2))]
    await house.read(entries[0].extent)
    assert await house.reader.headers(entries[0]) == {"content-type": "text/plain"}
    await house.reader.aclose()
    house.catalog.recorded.pop((SMALL, 1), None)
    for _ in range(2):
        assert await house.reader.headers(entries[1]) == {"content-type": "image/jpeg"}
    assert house.origin.heads == 1


async def test_a_sequential_reader_is_fetched_ahead_of(house: House) -> None:
    await house.read(Extent(BIG, 0, 1000))
    await house.read(Extent(BIG, CHUNK_SIZE, 1000))
    while len(house.origin.reads) < 3:
        await asyncio.sleep(0)
    assert house.origin.reads[2][1] == 2 * CHUNK_SIZE


async def test_neighbouring_chunks_of_packed_files_are_no_sequence(house: House) -> None:
    """Read in any order, files meet neighbours all the time; each chunk ahead would cost a GET for every file in it."""
    await house.read(Extent(MANY, 0, 1000))
    await house.read(Extent(MANY, CHUNK_SIZE, 1000))
    while len(house.origin.reads) < 4 or len(house.reader._flights):
        await asyncio.sleep(0)
    assert {name for name, _, _ in house.origin.reads} == {key(MANY, index) for index in range(4)}


async def test_a_part_that_fails_in_the_background_keeps_no_other_from_coming(house: House) -> None:
    table = TABLES[SMALL]
    house.origin.errors[table.part(1).key] = OriginUnavailable("away")
    await house.read(Extent(SMALL, 0, 1))
    while len(house.origin.reads) < 5 or len(house.reader._flights):
        await asyncio.sleep(0)
    for index in (0, 2, 3, 4):
        part = table.part(index)
        lease = house.store.lease(ChunkId(SMALL, 0), part.offset, part.offset + part.size)
        assert lease
        lease.close()


async def test_readers_coming_and_leaving_at_random_leave_a_clean_store(house: House) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print("seed", seed)
    source = random.Random(seed)

    async def one() -> None:
        segment = source.choice([BIG, SMALL])
        start = source.randrange(TABLES[segment].size)
        extent = Extent(segment, start, source.randrange(1, min(3_000_000, TABLES[segment].size - start + 1)))
        assert await house.read(extent) == house.expected(extent)

    for _ in range(60):
        tasks = [asyncio.ensure_future(one()) for _ in range(source.randrange(1, 6))]
        for _ in range(source.randrange(20)):
            await asyncio.sleep(0)
        for task in tasks:
            if source.random() < 0.4:
                task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert result is None or isinstance(result, asyncio.CancelledError)
        if source.random() < 0.5:
            house.store.evict(ChunkId(source.choice([BIG, SMALL]), source.randrange(3)))
