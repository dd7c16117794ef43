"""Syncs, and their commits read back: of a real directory, and of a bucket in memory that changes and fails on demand."""

import asyncio
import errno
import hashlib
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager, closing
from pathlib import Path

import pytest

from forebay_cache.catalog import devices, leaf, sources
from forebay_cache.catalog.commit import LeafCommit
from forebay_cache.catalog.edge import Point
from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.catalog.sources import Mapping
from forebay_cache.catalog.sync import reason, run_sync
from forebay_cache.contract.admin import CommitReport
from forebay_cache.contract.config import DirectorySource
from forebay_cache.model.errors import (
    NotFound,
    OriginBadAnswer,
    OriginDenied,
    OriginMissing,
    OriginThrottled,
    OriginUnavailable,
    PartGone,
    StoreFull,
)
from forebay_cache.model.ids import CHUNK_SIZE, CommitId
from forebay_cache.model.ranges import spans
from forebay_cache.origin import memory
from forebay_cache.origin.folder import FolderOrigin
from forebay_cache.origin.memory import Clock, Fault, MemoryOrigin
from forebay_cache.read.reader import ChunkReader
from forebay_cache.store.disk import DiskStore
from forebay_cache.store.ledger import Limits

InKernel = Callable[[Path, Sequence[Path], Callable[[bytes], None]], None]

NAMES = ["a-", "a.txt", "a/b", "a/b.c/d", "a/z", "ab", "b/1", "b/2", "ü/ß", "z"]


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    folder = tmp_path / "bucket"
    for name in NAMES:
        put(folder, name, name.encode() * 3000)
    put(folder, "big", bytes(2 * CHUNK_SIZE + 1))
    put(folder, "empty", b"")
    return folder


def put(folder: Path, name: str, data: bytes) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


async def synced(files: CatalogFiles, folder: Path, parent: str | None = None, salt: bytes = b"s") -> CommitReport:
    origin = FolderOrigin(DirectorySource(path=str(folder)))
    mapping = Mapping(b"", b"", origin, salt)
    return await run_sync(files, [mapping], CommitId(parent) if parent else None, 1_700_000_000_000, lambda *_: None)


async def test_a_commit_lists_every_object_in_key_order(files: CatalogFiles, bucket: Path) -> None:
    report = await synced(files, bucket)
    commit = files.commit(CommitId(report.id))
    keys = [entry.key for entry in commit]
    assert keys == sorted(name.encode() for name in [*NAMES, "big", "empty"])
    assert report.files == len(keys) == commit.file_count
    for entry in commit:
        assert commit.find(entry.key) == entry
        assert entry.size == (bucket / entry.key.decode()).stat().st_size
    assert commit.find(b"nope") is None


async def test_every_extent_is_where_the_parts_table_says(files: CatalogFiles, bucket: Path) -> None:
    commit = files.commit(CommitId((await synced(files, bucket)).id))
    for entry in commit:
        if not entry.size:
            continue
        part = files.parts(entry.extent.segment).at(entry.extent.offset)
        assert (part.key, part.offset, part.size, part.etag) == (entry.key, entry.extent.offset, entry.size, entry.etag)
        assert entry.size > CHUNK_SIZE or len(list(spans(entry.extent))) == 1


async def test_a_sync_that_finds_nothing_new_is_the_parent_and_writes_nothing(
    files: CatalogFiles, bucket: Path
) -> None:
    first = await synced(files, bucket)
    before = sorted(path for path in Path(files.root).rglob("*") if path.is_file())
    again = await synced(files, bucket, first.id, salt=b"another")
    assert again == first
    assert sorted(path for path in Path(files.root).rglob("*") if path.is_file()) == before


async def test_what_did_not_change_keeps_its_extent(files: CatalogFiles, bucket: Path) -> None:
    first = files.commit(CommitId((await synced(files, bucket)).id))
    put(bucket, "b/3", b"new")
    (bucket / "ab").unlink()
    put(bucket, "z", b"changed")
    second = files.commit(CommitId((await synced(files, bucket, first.id, salt=b"2")).id))
    assert second.find(b"ab") is None
    assert second.find(b"b/3") is not None
    for entry in first:
        if entry.key not in (b"ab", b"z"):
            assert second.find(entry.key) == entry
    assert second.record.parent == first.id


async def test_an_empty_source_is_an_empty_commit(files: CatalogFiles, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    report = await synced(files, tmp_path / "nothing")
    assert report.files == 0
    assert list(files.commit(CommitId(report.id))) == []
    assert os.path.getsize(files.image_path(CommitId(report.id))) % 4096 == 0


async def test_a_missing_parent_is_no_obstacle(files: CatalogFiles, bucket: Path, tmp_path: Path) -> None:
    """A member that lost its disk packs as the first sync did: the same commit, where the origin's ETags are strong."""
    found = await synced(files, bucket, "0" * 64)
    assert found.parent == "0" * 64
    assert (await synced(CatalogFiles(str(tmp_path / "other")), bucket)).id == found.id


async def test_devices_hold_every_segment_once_and_tell_themselves_apart(files: CatalogFiles, bucket: Path) -> None:
    commit = files.commit(CommitId((await synced(files, bucket)).id))
    found = devices.decode(Path(files.devices_path(commit.id)).read_bytes())
    assert len(found) == devices.LEAST
    assert sorted(p.segment for d in found for p in d.placed) == commit.segments()
    assert len({d.identity for d in found}) == len(found)
    for device in found:
        assert devices.locate(device, 0) is None
        assert devices.locate(device, device.size - 1) is None
        for placed in device.placed:
            assert (
                devices.locate(device, placed.offset)
                == devices.locate(device, placed.offset + placed.size - 1)
                == placed
            )


async def test_two_sources_make_one_namespace_and_the_first_wins(files: CatalogFiles, tmp_path: Path) -> None:
    for folder, name in (("one", "x"), ("one", "sub/y"), ("two", "y"), ("two", "z")):
        put(tmp_path / folder, name, f"{folder}/{name}".encode())
    mappings = [
        Mapping(b"", b"", FolderOrigin(DirectorySource(path=str(tmp_path / "one"))), b"1"),
        Mapping(b"sub/", b"", FolderOrigin(DirectorySource(path=str(tmp_path / "two"))), b"2"),
    ]
    commit = files.commit(CommitId((await run_sync(files, mappings, None, 0, lambda *_: None)).id))
    assert [entry.key for entry in commit] == [b"sub/y", b"sub/z", b"x"]
    entry = commit.find(b"sub/y")
    assert entry is not None
    assert files.parts(entry.extent.segment).origin.endswith("/one")


def mapping(origin: MemoryOrigin, path: bytes = b"", prefix: bytes = b"", salt: bytes = b"") -> Mapping:
    return Mapping(path, prefix, origin, salt)


async def of(files: CatalogFiles, *mappings: Mapping, parent: CommitId | None = None) -> LeafCommit:
    return files.commit(CommitId((await run_sync(files, mappings, parent, 0, lambda *_: None)).id))


def objects(count: int) -> dict[bytes, bytes]:
    return {b"train/%02d/%04d" % (n % 17, n): b"%d" % n * 50 for n in range(count)}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many leaves, pages and ranges."""
    monkeypatch.setattr(leaf, "LEAST", 20)
    monkeypatch.setattr(leaf, "MEAN", 30)
    monkeypatch.setattr(memory, "PAGE", 7)
    monkeypatch.setattr(sources, "FIRST_PAGES", 2)


async def test_equal_listings_give_equal_ids_however_they_are_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin, found = MemoryOrigin(objects(300)), set()
    for page, first, number in ((1000, 4, 8), (7, 1, 8), (3, 2, 1), (11, 3, 64)):
        monkeypatch.setattr(memory, "PAGE", page)
        monkeypatch.setattr(sources, "FIRST_PAGES", first)
        monkeypatch.setattr(sources, "RANGES", number)
        files = CatalogFiles(str(tmp_path / str(page)))
        commit = await of(files, mapping(origin))
        found.add(
            (
                commit.id,
                Path(files.image_path(commit.id)).read_bytes(),
                Path(files.devices_path(commit.id)).read_bytes(),
            )
        )
    assert len(found) == 1, "the image and the device table are functions of the commit"


async def test_an_object_overwritten_or_deleted_since_is_listed_as_it_was_and_cannot_be_read(
    files: CatalogFiles, tmp_path: Path
) -> None:
    origin = MemoryOrigin({b"a": b"1" * 5000, b"b": b"2" * 5000, b"c": b"3" * 5000})

    def change(phase: str, _: int) -> None:
        if phase == "Listing":
            origin.put(b"a", b"other" * 1000)
            origin.delete(b"b")

    commit = files.commit(CommitId((await run_sync(files, [mapping(origin)], None, 0, change)).id))
    assert [(entry.key, entry.size) for entry in commit] == [(b"a", 5000), (b"b", 5000), (b"c", 5000)]
    async with reading(files, origin, tmp_path) as read:
        assert await read(commit, b"c") == b"3" * 5000
        for key in (b"a", b"b"):
            with pytest.raises(PartGone):
                await read(commit, key)
    after = await of(files, mapping(origin), parent=commit.id)
    assert [entry.key for entry in after] == [b"a", b"c"]


async def test_every_byte_can_be_read_wherever_packing_put_it(files: CatalogFiles, tmp_path: Path) -> None:
    source = random.Random(3)
    sizes = [5, 4096, 5 << 20, 5 << 20, CHUNK_SIZE, CHUNK_SIZE - 1, 3 << 20, CHUNK_SIZE + 1, 20 << 20, 100_000, 0]
    origin = MemoryOrigin({b"f%02d" % n: source.randbytes(size) for n, size in enumerate(sizes)})
    commit = await of(files, mapping(origin))
    async with reading(files, origin, tmp_path) as read:
        for n, size in enumerate(sizes):
            data = await read(commit, b"f%02d" % n)
            assert len(data) == size
            assert hashlib.md5(data).hexdigest() == commit.find(b"f%02d" % n).etag  # type: ignore[union-attr]


Read = Callable[[LeafCommit, bytes], Awaitable[bytes]]


@asynccontextmanager
async def reading(files: CatalogFiles, origin: MemoryOrigin, folder: Path) -> AsyncIterator[Read]:
    """The product's read path over a store on disk."""
    store = DiskStore.open(str(folder / "store"), Limits(1 << 30), cluster_uid="test", boot_id="boot")
    with ThreadPoolExecutor(4) as pool, closing(store):
        reader = ChunkReader(store, files, lambda _: origin, pool, time.monotonic)

        async def read(commit: LeafCommit, key: bytes) -> bytes:
            entry = commit.find(key)
            assert entry is not None
            data = bytearray()
            async with aclosing(reader.pieces(entry.extent)) as pieces:  # type: ignore[type-var]
                async for piece in pieces:
                    data += os.pread(piece.fd, piece.length, piece.offset)
            return bytes(data)

        try:
            yield read
        finally:
            await reader.aclose()


async def test_equal_bytes_from_another_origin_or_key_are_another_part(files: CatalogFiles) -> None:
    """Sources exchanged: what the old origin held must not be asked of it any more."""
    data = {b"x/a": b"1" * 10, b"x/b": b"2" * 10}
    old, moved = MemoryOrigin(data, identity="old"), MemoryOrigin(data, identity="new")
    first = await of(files, mapping(old))
    second = await of(files, mapping(moved), parent=first.id)
    assert {files.parts(segment).origin for segment in second.segments()} == {"new"}
    deeper = MemoryOrigin({b"deep/" + key: value for key, value in data.items()}, identity="new")
    third = await of(files, mapping(deeper, prefix=b"deep/"), parent=second.id)
    assert [entry.key for entry in third] == [b"x/a", b"x/b"]
    parts = [files.parts(entry.extent.segment).at(entry.extent.offset) for entry in third]
    assert [part.key for part in parts] == [b"deep/x/a", b"deep/x/b"]


async def test_a_file_the_first_source_lost_comes_from_the_second(files: CatalogFiles) -> None:
    one, two = (MemoryOrigin({b"a": b"same"}, identity=name) for name in ("one", "two"))
    first = await of(files, mapping(one), mapping(two))
    assert {files.parts(segment).origin for segment in first.segments()} == {"one"}
    assert await of(files, mapping(one), mapping(two), parent=first.id) is first
    one.delete(b"a")
    second = await of(files, mapping(one), mapping(two), parent=first.id)
    assert {files.parts(segment).origin for segment in second.segments()} == {"two"}


async def test_weak_origins_share_no_segment_unless_the_salt_is_the_same(files: CatalogFiles) -> None:
    weak = MemoryOrigin({b"a": b"1"}, strong=False)
    ids = [(await of(files, mapping(weak, salt=salt))).segments()[0] for salt in (b"uid/1", b"uid/2", b"uid/1")]
    assert ids[0] == ids[2] != ids[1]


async def test_two_syncs_at_once_do_not_harm_each_other(files: CatalogFiles) -> None:
    origins = [
        MemoryOrigin(objects(200), identity=name, clock=Clock(latency_s=0.001)) for name in ("one", "two", "two")
    ]
    commits = await asyncio.gather(*(of(CatalogFiles(files.root), mapping(origin)) for origin in origins))
    assert commits[1].id == commits[2].id != commits[0].id
    for commit in commits:
        whole(files, commit.id)
    assert os.listdir(files.path("tmp")) == []


def whole(files: CatalogFiles, commit: CommitId) -> None:
    """Everything a commit needs is on disk and as its name says."""
    fresh = CatalogFiles(files.root)
    for entry in fresh.commit(commit):
        part = fresh.parts(entry.extent.segment).at(entry.extent.offset)
        assert (part.key, part.size) == (entry.key, entry.size)
    devices.decode(Path(fresh.devices_path(commit)).read_bytes())
    assert os.path.getsize(fresh.image_path(commit)) == fresh.report(commit).image_bytes


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("again", [0, 3, 11])
def test_a_sync_killed_at_any_moment_does_no_harm(tmp_path: Path, again: int) -> None:
    """A child is killed just before its nth change of the disk, or report of progress, for every n; and once more then."""
    origin = MemoryOrigin(objects(150))
    want = asyncio.run(of(CatalogFiles(str(tmp_path / "calm")), mapping(origin))).id
    nth, status = 0, -1
    while status:
        nth += 1
        files = CatalogFiles(str(tmp_path / str(nth)))
        status = killed_sync(files.root, origin, nth)
        if again:
            killed_sync(files.root, origin, again)
        visible = [name.removesuffix(".json") for name in os.listdir(files.path("commits"))]
        assert visible in ([], [want])
        for commit in visible:
            whole(files, CommitId(commit))
        assert asyncio.run(of(CatalogFiles(files.root), mapping(origin))).id == want
        whole(files, want)
        assert os.listdir(files.path("tmp")) == os.listdir(files.path("checkpoints")) == []
    assert nth > 50


def killed_sync(root: str, origin: MemoryOrigin, nth: int) -> int:
    """-> the child's status: 0 if it was done before its nth moment."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    left = [nth]

    def moment(*_: object) -> None:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        asyncio.run(run_sync(CatalogFiles(root, moment), [mapping(origin)], None, 0, moment))
        os._exit(0)
    finally:
        os._exit(1)


@pytest.mark.usefixtures("small")
async def test_a_sync_that_was_cut_short_does_not_list_again_what_it_has(files: CatalogFiles) -> None:
    origin = MemoryOrigin(objects(400))
    origin.fault = lambda _: Fault(error=OriginUnavailable("down")) if origin.counts["list"] > 50 else None
    with pytest.raises(OriginUnavailable):
        await of(files, mapping(origin))
    origin.fault = lambda _: None
    origin.counts.clear()
    assert len(list(await of(files, mapping(origin)))) == 400
    assert origin.counts["list"] < 50
    assert os.listdir(files.path("checkpoints")) == []


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (OriginDenied("x"), "OriginDenied"),
        (OriginMissing("x"), "OriginMissing"),
        (OriginUnavailable("x"), "OriginUnavailable"),
        (OriginThrottled("x"), "OriginUnavailable"),
        (OriginBadAnswer("x"), "OriginUnavailable"),
        (StoreFull("x"), "CatalogFull"),
        (MemoryError(), "Failed"),
        (NotFound("x"), "Failed"),
    ],
)
def test_every_failure_has_a_stable_reason(error: Exception, word: str) -> None:
    assert reason(error) == word


async def test_a_full_disk_fails_the_sync_and_leaves_nothing_half_made(tmp_path: Path) -> None:
    def full(point: Point) -> None:
        if point is Point.NAME:
            raise OSError(errno.ENOSPC, "no space")

    root = str(tmp_path / "catalog")
    with pytest.raises(StoreFull) as caught:
        await of(CatalogFiles(root, full), mapping(MemoryOrigin(objects(5))))
    assert reason(caught.value) == "CatalogFull"
    assert os.listdir(os.path.join(root, "tmp")) == []
    assert len(list(await of(CatalogFiles(root), mapping(MemoryOrigin(objects(5)))))) == 5


@pytest.mark.root
async def test_a_mounted_commit_shows_the_bucket(files: CatalogFiles, tmp_path: Path, in_kernel: InKernel) -> None:
    data = objects(60) | {
        b"big": os.urandom(CHUNK_SIZE + 5),
        b"a//b": b"no",
        b"x": b"no",
        b"x/y": b"yes",
        b"empty/": b"",
    }
    commit = await of(files, mapping(MemoryOrigin(data, clock=Clock(now_ms=lambda: 1_600_000_000_123))))
    report = files.report(commit.id)
    assert (report.unmountable, sorted(report.unmountable_first)) == (2, ["a//b", "x"])
    paths = []
    for device in devices.decode(Path(files.devices_path(commit.id)).read_bytes()):
        paths.append(tmp_path / f"device{device.number}")
        with open(paths[-1], "wb") as file:
            file.write(device.identity)
            file.truncate(device.size)
            for placed in device.placed:
                table = files.parts(placed.segment)
                for part in table.within(0, table.size):
                    file.seek(placed.offset + part.offset)
                    file.write(data[part.key])

    def check(root: bytes) -> None:
        found = {}
        for place, _, names in os.walk(root):
            for name in names:
                path = os.path.join(place, name)
                assert os.stat(path).st_mtime == 1_600_000_000
                found[os.path.relpath(path, root)] = Path(os.fsdecode(path)).read_bytes()
        assert found == {key: value for key, value in data.items() if key not in (b"a//b", b"x", b"empty/")}
        assert os.listdir(root + b"/empty") == []

    in_kernel(Path(files.image_path(commit.id)), paths, check)
