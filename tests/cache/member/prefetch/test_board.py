"""Prefetches over a real catalog, a store on disk and the in-memory origin."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from forebay_cache.catalog.base import Commit
from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.catalog.sources import Mapping
from forebay_cache.catalog.sync import run_sync
from forebay_cache.contract.prefetch import PrefetchReport, PrefetchRequest
from forebay_cache.member.prefetch import run as running
from forebay_cache.member.prefetch.board import House, Prefetches
from forebay_cache.model.errors import BadInput, NotFound, OriginUnavailable, PrefetchConflict
from forebay_cache.model.ids import CHUNK_SIZE, CommitId
from forebay_cache.model.ranges import spans
from forebay_cache.origin.memory import Call, Fault, MemoryOrigin
from forebay_cache.read.reader import ChunkReader
from forebay_cache.store.disk import DiskStore
from forebay_cache.store.ledger import Limits

UID = "uid-1"
FILES = {
    **{b"a/%03d" % n: b"%03d" % n * 3000 for n in range(200)},
    **{b"b/%03d" % n: b"-%03d" % n * 2000 for n in range(300)},
    b"c/big": bytes(range(256)) * (2 * CHUNK_SIZE // 256) + b"end",
    b"c/empty": b"",
}
TOTAL = sum(map(len, FILES.values()))
REQUESTS = 500 + 3


@dataclass
class Stage:
    """A member's parts. `board` may be made anew: that is a restart."""

    origin: MemoryOrigin
    store: DiskStore
    files: CatalogFiles
    commit: Commit
    board: Prefetches
    make: Callable[[], Prefetches]

    async def ended(self) -> PrefetchReport:
        async with asyncio.timeout(60):
            while (found := self.board.newest(UID)) is None or found.state == "Running":
                await asyncio.sleep(0.001)
        return found

    async def do(self, **request: object) -> PrefetchReport:
        await self.board.start(UID, PrefetchRequest.model_validate(request))
        return await self.ended()

    @property
    def asked(self) -> int:
        return self.origin.counts["read"]

    def held(self, key: bytes) -> bool:
        entry = self.commit.find(key)
        assert entry is not None
        for span in spans(entry.extent):
            lease = self.store.lease(span.chunk, span.start, span.stop)
            if lease is None:
                return False
            lease.close()
        return True


@asynccontextmanager
async def stage(tmp_path: Path, capacity: int = 1 << 30) -> AsyncIterator[Stage]:
    origin, files = MemoryOrigin(FILES), CatalogFiles(str(tmp_path / "catalog"))
    head = CommitId((await run_sync(files, [Mapping(b"", b"", origin, b"")], None, 0, lambda *_: None)).id)
    store = DiskStore.open(str(tmp_path / "store"), Limits(capacity), cluster_uid="c", boot_id="b")
    with ThreadPoolExecutor(4) as pool, closing(store):
        reader = ChunkReader(store, files, lambda _: origin, pool, time.monotonic)
        house = House(reader, store, files, pool, capacity * 9 // 10, time.monotonic, lambda: 7)

        def commit_of(uid: str, commit: CommitId | None) -> Commit:
            if uid != UID or commit not in (None, head):
                raise NotFound(f"no {uid} at {commit}")
            return files.commit(head)

        def make() -> Prefetches:
            return Prefetches(str(tmp_path / "prefetch"), house, commit_of)

        made = Stage(origin, store, files, files.commit(head), make(), make)
        try:
            yield made
        finally:
            await made.board.aclose()
            await reader.aclose()
        assert store.check() == []


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path) as made:
        yield made


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "WAITS_S", (0.0, 0.0, 0.0, 0.0))


async def test_all_of_a_dataset_is_loaded_and_asked_for_once(house: Stage) -> None:
    report = await house.do()
    assert (report.state, report.message, report.failed) == ("Complete", "", 0)
    assert (report.files, report.files_done) == (len(FILES) - 1, len(FILES) - 1)
    assert (report.bytes, report.bytes_done, report.fetched) == (TOTAL, TOTAL, TOTAL)
    assert house.asked == REQUESTS
    assert all(house.held(key) for key in FILES)
    again = await house.do()
    assert (again.state, again.fetched, again.bytes_done) == ("Complete", 0, TOTAL)
    assert house.asked == REQUESTS


async def test_a_prefix_or_paths_load_nothing_else(house: Stage) -> None:
    report = await house.do(prefix="a/")
    assert (report.state, report.files_done, house.asked) == ("Complete", 200, 200)
    assert not any(house.held(key) for key in FILES if not key.startswith(b"a/") and FILES[key])
    report = await house.do(paths=("c/big", "b/007", "b/299"))
    assert (report.state, report.files_done, house.asked) == ("Complete", 3, 205)
    assert house.held(b"b/299")
    assert not house.held(b"b/298")
    assert (await house.do(prefix="nothing/")).files == 0


async def test_a_path_that_is_not_there_is_told_at_once(house: Stage) -> None:
    with pytest.raises(BadInput, match=r"has no file 'x', nor 1 more"):
        await house.do(paths=("x", "y", "a/001"))
    with pytest.raises(NotFound):
        await house.board.start("other", PrefetchRequest())
    assert house.board.newest(UID) is None
    with pytest.raises(ValueError, match="not both"):
        PrefetchRequest(prefix="a", paths=("b",))


async def test_files_that_fail_are_listed_and_the_others_loaded(house: Stage) -> None:
    house.origin.delete(b"b/005")
    house.origin.put(b"b/006", b"other bytes")
    report = await house.do()
    assert (report.state, report.failed, report.files_done) == ("Failed", 2, len(FILES) - 3)
    assert [failure.path for failure in report.failures] == ["b/005", "b/006"]
    assert "2 files could not be read, the first is 'b/005'" in report.message
    assert report.bytes_done == TOTAL - len(FILES[b"b/005"]) - len(FILES[b"b/006"])
    assert not house.held(b"b/005")
    assert house.held(b"b/004")


async def test_a_failure_that_passes_is_tried_again(house: Stage) -> None:
    failed = set()

    def once(call: Call) -> Fault | None:
        if call.kind == "read" and call.key not in failed:
            failed.add(call.key)
            return Fault(error=OriginUnavailable("busy"))
        return None

    house.origin.fault = once
    report = await house.do(prefix="a/")
    assert (report.state, report.files_done, report.failed) == ("Complete", 200, 0)


async def test_what_does_not_fit_is_refused_with_the_numbers(tmp_path: Path) -> None:
    async with stage(tmp_path, 20 << 20) as house:
        report = await house.do()
        assert report.state == "Failed"
        assert f"{TOTAL} bytes were asked for, and this member's store holds {(20 << 20) * 9 // 10}" in report.message
        assert house.asked == 0
        assert (await house.do(prefix="a/")).state == "Complete"


async def test_complete_is_said_only_of_what_is_really_here(house: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = house.commit.find(b"a/000")
    assert entry is not None
    chunk = next(spans(entry.extent)).chunk
    passes = 0

    async def evicting(_: float) -> None:
        nonlocal passes
        passes += 1
        while passes > 1 and not house.store.evict(chunk):  # not before its fill has landed
            await asyncio.sleep(0.001)

    monkeypatch.setattr(running.Run.__init__, "__defaults__", (evicting,))
    report = await house.do()
    assert report.state == "Failed"
    assert "evicted again as fast as they came" in report.message


async def test_the_rate_is_held(house: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(running.Run.__init__, "__defaults__", (sleep,))
    await house.do(prefix="c/", bytes_per_second=1 << 20)
    assert max(waited) == pytest.approx(16, rel=0.1), "the third chunk waits until two were paid for"


async def test_one_runs_at_a_time_and_is_joined_or_stopped(house: Stage) -> None:
    house.origin.fault = lambda _: Fault(latency_s=1000)
    first = await house.board.start(UID, PrefetchRequest())
    assert (await house.board.start(UID, PrefetchRequest())).id == first.id
    with pytest.raises(PrefetchConflict, match="stop it first"):
        await house.board.start(UID, PrefetchRequest(prefix="a/"))
    stopped = await house.board.stop(UID)
    assert (stopped.state, stopped.finished_ms) == ("Stopped", 7)
    assert (await house.board.stop(UID)).id == first.id
    house.origin.fault = lambda _: None
    assert (await house.do(prefix="a/")).state == "Complete"
    with pytest.raises(NotFound):
        await house.board.stop("other")


async def test_a_restart_goes_on_and_asks_for_nothing_twice(house: Stage) -> None:
    asked: list[Call] = []

    def slow(call: Call) -> Fault | None:
        asked.append(call)
        return Fault(latency_s=1000) if len(asked) > 100 else None

    house.origin.fault = slow
    first = await house.board.start(UID, PrefetchRequest(prefix="b/"))
    while len(asked) < 101:
        await asyncio.sleep(0.001)
    await house.board.aclose()
    house.origin.fault = lambda _: None
    begun = house.asked
    house.board = house.make()
    await house.board.resume()
    report = await house.ended()
    assert (report.id, report.state, report.files_done) == (first.id, "Complete", 300)
    assert house.asked - begun <= 200
    house.board = house.make()
    await house.board.resume()
    assert house.board.newest(UID) == report


async def test_a_file_that_cannot_be_read_is_passed_over(house: Stage, tmp_path: Path) -> None:
    (tmp_path / "prefetch").mkdir()
    (tmp_path / "prefetch" / "bad.json").write_text("{")
    await house.board.resume()
    assert house.board.newest("bad") is None


async def test_a_commit_that_is_gone_ends_what_it_was_of(house: Stage, tmp_path: Path) -> None:
    report = await house.do(prefix="a/")
    (tmp_path / "prefetch" / "gone.json").write_text(replace_state(report))
    await house.board.resume()
    found = house.board.newest("gone")
    assert found is not None
    assert (found.state, found.message) == ("Failed", f"its commit is gone: no gone at {report.commit}")


def replace_state(report: PrefetchReport) -> str:
    return report.model_copy(update={"state": "Running"}).model_dump_json()


async def test_evicting_takes_out_what_was_chosen_and_nothing_else(house: Stage) -> None:
    await house.do()
    some = await house.do(action="Evict", prefix="a/00")
    assert (some.state, some.bytes_done) == ("Complete", 0)
    assert "chunks stay, because they hold other files as well" in some.message
    big = await house.do(action="Evict", paths=("c/big",))
    assert not house.held(b"c/big") or "stay" in big.message
    everything = await house.do(action="Evict")
    assert (everything.state, everything.message) == ("Complete", "")
    assert house.store.stats().chunks == 0
