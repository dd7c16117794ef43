"""Syncs over a real directory, and their commits read back."""

import os
from pathlib import Path

import pytest

from forebay_cache.catalog import devices
from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.catalog.sources import Mapping
from forebay_cache.catalog.sync import run_sync
from forebay_cache.contract.admin import CommitReport
from forebay_cache.contract.config import DirectorySource
from forebay_cache.model.errors import NotFound
from forebay_cache.model.ids import CHUNK_SIZE, CommitId
from forebay_cache.model.ranges import spans
from forebay_cache.origin.folder import FolderOrigin

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


async def test_a_missing_parent_is_named(files: CatalogFiles, bucket: Path) -> None:
    with pytest.raises(NotFound, match="0000"):
        await synced(files, bucket, "0" * 64)


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
