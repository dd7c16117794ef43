"""Cleaning: what a kept commit needs stays, the rest goes, and never while a sync runs."""

import os
from pathlib import Path

import pytest

from forebay_cache.catalog import garbage
from forebay_cache.catalog.edge import Point
from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.catalog.garbage import YOUNG_MS, collect
from forebay_cache.catalog.sources import Mapping
from forebay_cache.catalog.sync import run_sync
from forebay_cache.model.errors import CatalogCorrupt, NotFound
from forebay_cache.model.ids import CHUNK_SIZE, CommitId
from forebay_cache.origin.memory import MemoryOrigin

LATER = 10 * YOUNG_MS


@pytest.fixture
def origin() -> MemoryOrigin:
    return MemoryOrigin({b"a/%02d" % n: b"%d" % n for n in range(20)} | {b"big": bytes(CHUNK_SIZE + 1)})


async def synced(
    files: CatalogFiles, origin: MemoryOrigin, parent: CommitId | None = None, now_ms: int = 0
) -> CommitId:
    return CommitId((await run_sync(files, [Mapping(b"", b"", origin, b"")], parent, now_ms, lambda *_: None)).id)


def on_disk(files: CatalogFiles) -> set[str]:
    return {str(path.relative_to(files.root)) for path in Path(files.root).rglob("*") if path.is_file()} - {"lock"}


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
    assert collect(files, {second}, LATER) > 0
    whole(files, second)
    with pytest.raises(NotFound):
        files.commit(first)
    left = on_disk(files)
    assert {name for name in before if name.startswith(("commits", "images", "devices", "leaves"))} & left == set()
    assert len([name for name in left if name.startswith("parts")]) == len(files.commit(second).segments())
    assert len([name for name in left if name.startswith("headers")]) == 2  # of the shared packed segment
    assert collect(files, {second}, LATER) == 0


async def test_kept_and_young_commits_stay(files: CatalogFiles, origin: MemoryOrigin) -> None:
    first = await synced(files, origin)
    origin.put(b"a/new", b"new")
    second = await synced(files, origin, first, now_ms=LATER - 1)
    assert collect(files, {first}, LATER) == 0
    whole(files, first)
    whole(files, second)


async def test_nothing_is_deleted_while_a_sync_runs(files: CatalogFiles, origin: MemoryOrigin) -> None:
    commit = await synced(files, origin)
    writer = files.writer()
    assert collect(files, set(), LATER) == 0
    whole(files, commit)
    writer.close()
    assert collect(files, set(), LATER) > 0
    assert on_disk(files) == set()


async def test_a_commit_nobody_can_read_stops_the_cleaning(files: CatalogFiles, origin: MemoryOrigin) -> None:
    first = await synced(files, origin)
    origin.put(b"a/new", b"new")
    second = await synced(files, origin, first)
    (path,) = (Path(files.path("leaves", leaf.id)) for leaf in files.record(second).leaves)
    path.write_bytes(b"?")
    before = on_disk(files)
    with pytest.raises(CatalogCorrupt):
        collect(CatalogFiles(files.root), {second}, LATER)
    assert on_disk(files) == before


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

        collect(files, {second}, LATER, at)

    for _ in range(20):
        try:
            after(1)
        except Cut:
            visible = [CommitId(name.removesuffix(".json")) for name in os.listdir(files.path("commits"))]
            assert second in visible
            for commit in visible:
                whole(files, commit)
    whole(files, second)
    assert collect(files, {second}, LATER) == 0


def test_the_rule_is_by_kind_of_file() -> None:
    needs = garbage.Needed(frozenset({"c"}), frozenset({"l"}), frozenset({"s"}))
    assert list(garbage.unneeded(needs, "commits", ["c.json", "d.json"])) == ["d.json"]
    assert list(garbage.unneeded(needs, "images", ["c.erofs", "l.erofs"])) == ["l.erofs"]
    assert list(garbage.unneeded(needs, "leaves", ["l", "c"])) == ["c"]
    assert list(garbage.unneeded(needs, "headers", ["s.sets", "s.index", "l.sets"])) == ["l.sets"]
