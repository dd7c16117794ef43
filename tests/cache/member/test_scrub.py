"""The slow reading back of everything a member stores."""

import asyncio
import pathlib
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from tests.rigs.chunks import KIB, chunk, put

from forebay_cache.member.scrub import IDLE_S, MOST_BYTES_S, PASS_S, Scrub, pause_s
from forebay_cache.model.errors import NotFound, StoreFailed
from forebay_cache.model.ids import CHUNK_SIZE, ChunkId
from forebay_cache.store.disk import DiskStore
from forebay_cache.store.layout import complete_name
from forebay_cache.store.ledger import Limits

LENGTH = 256 * KIB


@pytest.fixture
def store(tmp_path: pathlib.Path) -> Iterator[DiskStore]:
    path = str(tmp_path / "store")
    with closing(DiskStore.open(path, Limits(256 << 20), cluster_uid="c", boot_id="b")) as made:
        yield made


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as made:
        yield made


def damage(tmp_path: pathlib.Path, name: ChunkId) -> None:
    with open(tmp_path / "store" / "chunks" / complete_name(name), "r+b") as file:
        file.seek(random.randrange(LENGTH))
        at = file.tell()
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def test_the_pause_spreads_a_pass_and_spares_the_disk() -> None:
    assert pause_s(CHUNK_SIZE, 100_000) == PASS_S / 100_000
    assert pause_s(CHUNK_SIZE, 100_000_000) == CHUNK_SIZE / MOST_BYTES_S
    assert pause_s(CHUNK_SIZE, 3) == IDLE_S
    assert pause_s(0, 0) == IDLE_S


async def test_a_pass_reads_everything_and_a_bad_chunk_is_refilled(
    store: DiskStore, pool: ThreadPoolExecutor, tmp_path: pathlib.Path
) -> None:
    for number in range(10):
        put(store, chunk(number), LENGTH)
    damage(tmp_path, chunk(7))
    refilled: list[ChunkId] = []
    scrub = Scrub(store, pool, refilled.append, -1)
    for _ in range(11):
        assert await scrub.step() == IDLE_S
    seen = scrub.counters
    assert (seen.chunks, seen.bytes, seen.bad, seen.passes) == (10, 9 * LENGTH, 1, 1)
    assert refilled == [chunk(7)]
    assert store.stats().quarantined == 1


async def test_a_pass_counts_only_from_the_first_chunk_on(store: DiskStore, pool: ThreadPoolExecutor) -> None:
    scrub = Scrub(store, pool, lambda _: None, -1)
    await scrub.step()
    assert scrub.counters.passes == 0, "of an empty store"
    for number in range(4):
        put(store, chunk(number), LENGTH)
    scrub = Scrub(store, pool, lambda _: None, 1)
    passes = []
    for _ in range(8):
        await scrub.step()
        passes.append(scrub.counters.passes)
    assert passes == [0, 0, 0, 0, 0, 0, 0, 1]


async def test_it_goes_on_whatever_happens(
    store: DiskStore, pool: ThreadPoolExecutor, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(_: ChunkId) -> None:
        raise NotFound("no segment of any Dataset")

    for number in range(3):
        put(store, chunk(number), LENGTH)
        damage(tmp_path, chunk(number))
    scrub = Scrub(store, pool, unknown, -1)
    real, slept = store.scrub, []

    def failing(after: int) -> object:
        if not slept:
            raise StoreFailed("the store's disk failed")
        return real(after)

    monkeypatch.setattr(store, "scrub", failing)
    ended = asyncio.Event()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 6:
            ended.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(scrub.run(sleep))
    async with asyncio.timeout(10):
        await ended.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert slept == [IDLE_S] * 6
    assert scrub.counters.bad == 3
