"""Merges by real syncs: every byte stays readable, nothing older changes, and a death at any moment does no harm."""

import asyncio
import math
import os
import random
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay_cache.catalog import devices, leaf
from forebay_cache.catalog.commit import LeafCommit, diff
from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.catalog.sources import Mapping
from forebay_cache.catalog.sync import run_sync
from forebay_cache.model.ids import CHUNK_SIZE, CommitId
from forebay_cache.origin.memory import MemoryOrigin


async def synced(
    files: CatalogFiles, origin: MemoryOrigin, parent: LeafCommit | None = None, salt: bytes = b""
) -> LeafCommit:
    mapping = Mapping(b"", b"", origin, salt)
    report = await run_sync(files, [mapping], parent.id if parent else None, 0, lambda *_: None)
    return files.commit(CommitId(report.id))


async def grown(files: CatalogFiles, origin: MemoryOrigin, count: int, parent: LeafCommit | None = None) -> LeafCommit:
    """A file and a sync, `count` times."""
    commit = parent
    for n in range(count):
        origin.put(b"f/%04d" % (n * 37 % 1000), b"%d" % n * 100)
        commit = await synced(files, origin, commit, b"%d" % n)
    assert commit is not None
    return commit


def whole(files: CatalogFiles, commit: LeafCommit) -> None:
    """Every file is where its parts table says, each merged part was the same object before, and the devices hold it."""
    placed = {p.segment: p for d in devices.decode(Path(files.devices_path(commit.id)).read_bytes()) for p in d.placed}
    assert sorted(placed) == commit.segments()
    for entry in commit:
        if not entry.size:
            continue
        table = files.parts(entry.extent.segment)
        part = table.at(entry.extent.offset)
        assert (part.key, part.offset, part.size, part.etag) == (entry.key, entry.extent.offset, entry.size, entry.etag)
        assert placed[table.segment].size == table.size
        for one in files.ancestors(table.segment, part.index):
            before = files.parts(one.segment).part(one.part)
            assert (before.key, before.size, before.etag, before.version, before.offset) == (
                part.key,
                part.size,
                part.etag,
                part.version,
                one.offset,
            )


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many leaves."""
    monkeypatch.setattr(leaf, "LEAST", 5)
    monkeypatch.setattr(leaf, "MEAN", 8)


@pytest.mark.usefixtures("small")
async def test_a_dataset_that_grows_has_few_segments_and_older_commits_stay_as_they_are(files: CatalogFiles) -> None:
    origin, commit, kept = MemoryOrigin(), None, []
    for n in range(100):
        origin.put(b"f/%04d" % (n * 37 % 1000), b"%d" % n)
        commit = await synced(files, origin, commit)
        kept.append((commit.id, list(commit)))
        whole(files, commit)
        assert len(commit.segments()) <= 2 + math.log(n + 1) / math.log(4 / 3)
    fresh = CatalogFiles(files.root)
    for name, entries in kept:
        assert list(fresh.commit(name)) == entries
    assert commit is not None
    moved = max(
        len(files.ancestors(e.extent.segment, files.parts(e.extent.segment).at(e.extent.offset).index)) for e in commit
    )
    assert 2 <= moved <= 4, "a byte moves a logarithmic number of times"


async def test_a_sync_that_finds_nothing_new_merges_nothing(files: CatalogFiles) -> None:
    origin = MemoryOrigin()
    commit = await grown(files, origin, 7)
    before = sorted(path for path in Path(files.root).rglob("*") if path.is_file())
    assert await synced(files, origin, commit, b"other") is commit
    assert sorted(path for path in Path(files.root).rglob("*") if path.is_file()) == before


async def test_what_is_not_merged_keeps_its_extent(files: CatalogFiles) -> None:
    data = {b"big": bytes(CHUNK_SIZE + 1), b"empty": b""} | {b"a/%02d" % n: bytes(1 << 20) for n in range(80)}
    origin = MemoryOrigin(data)
    first = await synced(files, origin)
    last = await grown(files, origin, 5, first)
    for entry in first:
        assert last.find(entry.key) == entry
    assert len(last.segments()) == 4  # big, the first one, four small ones merged, and one since


async def test_segments_half_dead_are_packed_anew(files: CatalogFiles) -> None:
    origin = MemoryOrigin({b"a/%02d" % n: bytes([n]) * (1 << 20) for n in range(80)})
    first = await synced(files, origin)
    for n in range(0, 80, 2):
        origin.delete(b"a/%02d" % n)
    second = await synced(files, origin, first)
    (segment,) = second.segments()
    assert segment not in first.segments()
    assert files.parts(segment).size == 40 << 20
    whole(files, second)
    assert {entry.key: entry.mtime_ms for entry in second} == {e.key: e.mtime_ms for e in first if second.find(e.key)}


async def test_a_diff_does_not_show_what_only_moved(files: CatalogFiles) -> None:
    origin = MemoryOrigin()
    first = await grown(files, origin, 3)
    second = await grown(files, origin, 4, first)
    assert len(second.segments()) == 1
    found = diff(first, second, limit=9)
    assert (found.added, found.removed, found.changed) == (1, 0, 0)


async def test_each_origin_is_merged_by_itself_and_weak_ones_get_the_syncs_salt(files: CatalogFiles) -> None:
    one, two = MemoryOrigin(identity="one"), MemoryOrigin(identity="two", strong=False)
    parent = None
    for n in range(8):
        (one, two)[n % 2].put(b"%d" % n, b"%d" % n)
        mappings = [Mapping(b"x/", b"", one, b""), Mapping(b"y/", b"", two, b"uid/%d" % n)]
        parent = CommitId((await run_sync(files, mappings, parent, 0, lambda *_: None)).id)
    commit = files.commit(parent) if parent else None
    assert commit is not None
    assert sorted(files.parts(segment).origin for segment in commit.segments()) == ["one", "two"]
    assert [entry.key for entry in commit] == [b"x/0", b"x/2", b"x/4", b"x/6", b"y/1", b"y/3", b"y/5", b"y/7"]


async def test_a_source_that_is_gone_does_not_disturb(files: CatalogFiles) -> None:
    one, two = MemoryOrigin(identity="one"), MemoryOrigin(identity="two")
    both = [Mapping(b"x/", b"", one, b""), Mapping(b"y/", b"", two, b"")]
    parent = None
    for n in range(3):
        one.put(b"%d" % n, b"%d" % n)
        two.put(b"%d" % n, b"%d" % n)
        parent = CommitId((await run_sync(files, both, parent, 0, lambda *_: None)).id)
    two.put(b"9", b"9")
    commit = files.commit(CommitId((await run_sync(files, both[1:], parent, 0, lambda *_: None)).id))
    assert len(commit.segments()) == 1
    assert len(list(commit)) == 4


async def test_headers_recorded_before_a_merge_are_known_after_it(files: CatalogFiles) -> None:
    origin = MemoryOrigin()
    commit = await grown(files, origin, 3)
    for entry in commit:
        part = files.parts(entry.extent.segment).at(entry.extent.offset)
        files.record_headers(entry.extent.segment, part.index, {"content-type": entry.key.decode()})
    commit = await grown(files, origin, 4, commit)
    assert len(commit.segments()) == 1
    for entry in list(commit)[:3]:
        part = files.parts(entry.extent.segment).at(entry.extent.offset)
        found = files.headers(entry.extent.segment, part.index)
        assert found == (None if entry.key == b"f/0111" else {"content-type": entry.key.decode()})


Step = tuple[str, int, int]
steps = st.lists(
    st.tuples(st.sampled_from(["put", "put", "put", "delete", "sync", "sync"]), st.integers(0, 30), st.integers(0, 3)),
    min_size=5,
    max_size=60,
)


@settings(max_examples=40, deadline=None)
@given(steps)
def test_any_history_of_changes_lists_what_the_origin_has(history: list[Step]) -> None:
    root = tempfile.mkdtemp(prefix="forebay-merging-")
    try:
        asyncio.run(played(CatalogFiles(root), history))
    finally:
        shutil.rmtree(root)


async def played(files: CatalogFiles, history: list[Step]) -> None:
    data: dict[bytes, bytes] = {}
    origin, commit, syncs = MemoryOrigin(), None, 0
    for what, key, size in [*history, ("sync", 0, 0)]:
        name = b"k%02d" % key
        if what == "put":
            data[name] = random.Random(key * 7 + size).randbytes((0, 10, 5000, 100_000)[size])
            origin.put(name, data[name])
        elif what == "delete":
            if data.pop(name, None) is not None:
                origin.delete(name)
        else:
            before = files.commit(commit.id) if commit else None
            commit, syncs = await synced(files, origin, before), syncs + 1
            whole(files, commit)
            assert {entry.key: entry.size for entry in commit} == {k: len(v) for k, v in data.items()}
            assert len(commit.segments()) <= 3 + math.log(syncs + 1) / math.log(4 / 3)


@pytest.mark.usefixtures("small")
def test_a_merge_killed_at_any_moment_does_no_harm(tmp_path: Path) -> None:
    origin = MemoryOrigin()
    parent = asyncio.run(grown(CatalogFiles(str(tmp_path / "calm")), origin, 3))
    origin.put(b"f/0500", b"new")
    shutil.copytree(tmp_path / "calm", tmp_path / "before")
    want = asyncio.run(synced(CatalogFiles(str(tmp_path / "calm")), origin, parent))
    assert len(want.segments()) == 1
    nth, status = 0, -1
    while status:
        nth += 1
        root = str(tmp_path / str(nth))
        shutil.copytree(tmp_path / "before", root)
        status = killed(root, origin, parent, nth)
        files = CatalogFiles(root)
        for name in os.listdir(files.path("commits")):
            whole(files, files.commit(CommitId(name.removesuffix(".json"))))
        again = asyncio.run(synced(files, origin, files.commit(parent.id)))
        assert again.id == want.id
        whole(CatalogFiles(root), again)
    assert nth > 20


def killed(root: str, origin: MemoryOrigin, parent: LeafCommit, nth: int) -> int:
    """-> the child's status: 0 if it was done before its nth change of the disk."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    left = [nth]

    def moment(*_: object) -> None:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        mapping = Mapping(b"", b"", origin, b"")
        asyncio.run(run_sync(CatalogFiles(root, moment), [mapping], parent.id, 0, lambda *_: None))
        os._exit(0)
    finally:
        os._exit(1)
