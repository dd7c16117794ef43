"""Cleaning: what a kept commit needs stays, the rest goes, and never while a sync runs."""

import os
from pathlib import Path

import pytest

from forebay_cache.catalog import garbage
from forebay_cache.catalog.edge import Point
from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.catalog.garbage import collect, give
from forebay_cache.catalog.sources import Mapping
from forebay_cache.catalog.sync import run_sync
from forebay_cache.model.errors import CatalogCorrupt, NotFound
from forebay_cache.model.ids import CHUNK_SIZE, CommitId
from forebay_cache.origin.memory import MemoryOrigin


@pytest.fixture
def origin() -> MemoryOrigin:
    return MemoryOrigin({b"a/%02d" % n: b"%d" % n for n in range(20)} | {b"big": bytes(CHUNK_SIZE + 1)})


async def synced(files: CatalogFiles, origin: MemoryOrigin, parent: CommitId | None = None) -> CommitId:
    return CommitId((await run_sync(files, [Mapping(b"", b"", origin, b"")], parent, 0, lambda *_: None)).id)


def on_disk(files: CatalogFiles) -> set[str]:
    return {str(path.relative_to(files.root)) for path in Path(files.root).rglob("*") if path.is_file()} - {"lock"}


def spoil(files: CatalogFiles, *names: str) -> None:
    """Another file under the same name, as long: what is mapped stays as it was."""
    path = Path(files.path(*names))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    path.write_bytes(data)


def whole(files: CatalogFiles, commit: CommitId) -> None:
    """Every file the commit needs is here and right."""
    fresh = CatalogFiles(files.root)
    for entry in fresh.commit(commit):
        if entry.size:
            assert fresh.parts(entry.extent.segment).at(entry.extent.offset).key == entry.key
    assert os.path.getsize(fresh.image_path(commit))
    assert os.path.getsize(fresh.devices_path(commit))


async def test_what_no_kept_commit_needs_goes(files: CatalogFiles, origin: MemoryOrigin) -> None:
    first = await synced(files, origin)
    before = on_disk(files)
    origin.put(b"a/new", b"new")
    origin.delete(b"big")
    second = await synced(files, origin, first)
    for segment in files.commit(first).segments():
        files.record_headers(segment, 0, {"a": "b"})
    assert collect(files, {second}.__contains__) > 0
    whole(files, second)
    with pytest.raises(NotFound):
        files.commit(first)
    left = on_disk(files)
    assert {name for name in before if name.startswith(("commits", "images", "devices", "leaves"))} & left == set()
    assert len([name for name in left if name.startswith("parts")]) == len(files.commit(second).segments())
    assert len([name for name in left if name.startswith("headers")]) == 2  # of the shared packed segment
    assert collect(files, {second}.__contains__) == 0


async def test_nothing_is_deleted_while_a_sync_runs(files: CatalogFiles, origin: MemoryOrigin) -> None:
    commit = await synced(files, origin)
    writer = files.writer()
    assert collect(files, set[CommitId]().__contains__) is None
    whole(files, commit)
    writer.close()
    assert collect(files, set[CommitId]().__contains__) > 0
    assert on_disk(files) == set()


async def test_a_commit_nobody_can_read_stops_the_cleaning(files: CatalogFiles, origin: MemoryOrigin) -> None:
    first = await synced(files, origin)
    origin.put(b"a/new", b"new")
    second = await synced(files, origin, first)
    (leaf,) = files.record(second).leaves
    spoil(files, "leaves", leaf.id)
    Path(files.path("devices", second)).unlink()
    before = on_disk(files)
    with pytest.raises(CatalogCorrupt):
        collect(CatalogFiles(files.root), {second}.__contains__)
    assert len(on_disk(files)) == len(before)  # the leaf was set aside


async def test_a_lost_leaf_stops_no_cleaning_while_the_device_table_tells(
    files: CatalogFiles, origin: MemoryOrigin
) -> None:
    first = await synced(files, origin)
    origin.put(b"a/new", b"new")
    second = await synced(files, origin, first)
    spoil(files, "leaves", files.record(second).leaves[0].id)
    assert collect(CatalogFiles(files.root), {second}.__contains__)
    fresh = CatalogFiles(files.root)
    with pytest.raises(NotFound):
        fresh.commit(first)
    for device in fresh.device_table(second):
        for placed in device.placed:
            assert fresh.parts(placed.segment).size == placed.size


async def test_what_is_mounted_stays_whoever_else_wants_it(files: CatalogFiles, origin: MemoryOrigin) -> None:
    commit = await synced(files, origin)
    for path in (files.image_path(commit), files.devices_path(commit)):
        held = give(path)
        assert collect(files, set[CommitId]().__contains__) == 0
        whole(files, commit)
        os.close(held)
    assert collect(files, set[CommitId]().__contains__)


async def test_what_is_about_to_go_is_not_given(files: CatalogFiles, origin: MemoryOrigin) -> None:
    commit = await synced(files, origin)
    path = files.image_path(commit)
    met: list[str] = []

    def at(point: Point) -> None:
        with pytest.raises((NotFound, FileNotFoundError)) as refused:
            os.close(give(path))
        met.append(refused.typename)

    assert collect(files, set[CommitId]().__contains__, at)
    assert met[0] == "NotFound"
    assert met[-1] == "FileNotFoundError"


async def test_a_commit_that_is_synced_again_is_whole(files: CatalogFiles, origin: MemoryOrigin) -> None:
    """What this process knows of deleted files does not stand for their successors."""
    commit = await synced(files, origin)
    files.commit(commit)
    whole(files, commit)
    collect(files, set[CommitId]().__contains__)
    with pytest.raises(NotFound):
        files.commit(commit)
    assert await synced(files, origin) == commit
    spoil(files, "images", f"{commit}.erofs")
    with pytest.raises(CatalogCorrupt):
        files.image_path(commit)


async def test_what_was_set_aside_is_told_until_nobody_misses_it(files: CatalogFiles, origin: MemoryOrigin) -> None:
    commit = await synced(files, origin)
    spoil(files, "commits", f"{commit}.json")
    with pytest.raises(CatalogCorrupt):
        files.record(commit)
    collect(files, {commit}.__contains__)
    assert [one.name for one in files.quarantine.problems()] == [f"commits/{commit}.json"]
    whole_table = files.device_table(commit)
    assert whole_table
    collect(files, set[CommitId]().__contains__)
    assert files.quarantine.problems() == []
    assert on_disk(files) == set()


async def test_a_cleaning_cut_short_anywhere_leaves_every_visible_commit_whole(
    files: CatalogFiles, origin: MemoryOrigin
) -> None:
    first = await synced(files, origin)
    origin.put(b"a/new", b"new")
    second = await synced(files, origin, first)

    class Cut(Exception):
        pass

    def cut(_: Point) -> None:
        raise Cut

    def after(count: int) -> None:
        left = [count]

        def at(point: Point) -> None:
            left[0] -= 1
            if left[0] < 0:
                cut(point)

        collect(files, {second}.__contains__, at)

    for _ in range(20):
        try:
            after(1)
        except Cut:
            visible = [CommitId(name.removesuffix(".json")) for name in os.listdir(files.path("commits"))]
            assert second in visible
            for commit in visible:
                whole(files, commit)
    whole(files, second)
    assert collect(files, {second}.__contains__) == 0


def test_the_rule_is_by_kind_of_file() -> None:
    needs = garbage.Needed(frozenset({"c"}), frozenset({"l"}), frozenset({"s"}))
    assert list(garbage.unneeded(needs, "commits", ["c.json", "d.json"])) == ["d.json"]
    assert list(garbage.unneeded(needs, "images", ["c.erofs", "l.erofs"])) == ["l.erofs"]
    assert list(garbage.unneeded(needs, "leaves", ["l", "c"])) == ["c"]
    assert list(garbage.unneeded(needs, "headers", ["s.sets", "s.index", "l.sets"])) == ["l.sets"]
