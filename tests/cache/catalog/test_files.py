"""Catalog files found again, or refused."""

from pathlib import Path

import pytest

from forebay_cache.catalog.files import OPEN_HEADERS, CatalogFiles
from forebay_cache.catalog.parts import Draft
from forebay_cache.catalog.sources import Mapping
from forebay_cache.catalog.sync import run_sync
from forebay_cache.model.errors import CatalogCorrupt, NotFound
from forebay_cache.model.ids import CommitId, SegmentId
from forebay_cache.origin.memory import MemoryOrigin


def kept(files: CatalogFiles, count: int = 1) -> SegmentId:
    """A parts table on disk."""
    draft = Draft("memory", b"")
    for n in range(count):
        draft.add(4096 * n, 5, b"key%d" % n, "e", None)
    segment, table = draft.encode()
    writer = files.writer()
    writer.put_parts(segment, table)
    writer.settle()
    writer.close()
    return segment


async def synced(files: CatalogFiles) -> CommitId:
    mapping = Mapping(b"", b"", MemoryOrigin({b"a": b"1", b"b/c": b"2" * 10_000}), b"")
    return CommitId((await run_sync(files, [mapping], None, 0, lambda *_: None)).id)


@pytest.mark.parametrize("count", [1, 1000])
def test_a_parts_table_is_found_by_its_name(files: CatalogFiles, count: int) -> None:
    table = files.parts(kept(files, count))
    assert len(table) == count
    assert table.part(count - 1).key == b"key%d" % (count - 1)
    assert files.parts(table.segment) is table


def test_what_is_not_here_is_not_found(files: CatalogFiles) -> None:
    for ask in (files.commit, files.report, files.image_path, files.devices_path):
        with pytest.raises(NotFound, match="0000"):
            ask(CommitId("0" * 64))
    with pytest.raises(NotFound):
        files.parts(SegmentId(bytes(32)))
    assert files.headers(SegmentId(bytes(32)), 0) is None


@pytest.mark.parametrize("count", [1, 1000])
def test_a_parts_table_with_a_flipped_bit_is_refused(files: CatalogFiles, count: int) -> None:
    segment = kept(files, count)
    path = Path(files.path("parts", segment.hex()[:2], segment.hex()))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CatalogCorrupt, match="damaged on this member's disk and is set aside; `forebay sync`"):
        files.parts(segment)


@pytest.mark.parametrize("folder", ["leaves", "commits"])
async def test_a_commit_with_a_flipped_bit_is_refused(files: CatalogFiles, folder: str) -> None:
    commit = await synced(files)
    (path,) = Path(files.path(folder)).iterdir()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CatalogCorrupt):
        CatalogFiles(files.root).commit(commit)


async def test_commits_share_the_leaves_they_have_in_common(files: CatalogFiles) -> None:
    commit = await synced(files)
    again = files.leaf_commit(files.record(commit))
    assert again.leaves[0] is files.commit(commit).leaves[0]


async def test_a_commit_in_use_outlives_its_files(files: CatalogFiles) -> None:
    commit = files.commit(await synced(files))
    files.forget("commits", f"{commit.id}.json")
    for folder in ("commits", "leaves"):
        for path in Path(files.path(folder)).iterdir():
            path.unlink()
    assert [entry.key for entry in commit] == [b"a", b"b/c"]
    with pytest.raises(NotFound):
        files.commit(commit.id)


def test_headers_are_kept_per_part(files: CatalogFiles) -> None:
    segment = kept(files)
    files.record_headers(segment, 0, {"content-type": "text/plain"})
    assert files.headers(segment, 0) == {"content-type": "text/plain"}
    assert CatalogFiles(files.root).headers(segment, 0) == {"content-type": "text/plain"}


def test_asking_for_headers_leaves_no_file(files: CatalogFiles) -> None:
    assert files.headers(kept(files), 0) is None
    assert list(Path(files.path("headers")).iterdir()) == []


def test_headers_of_more_segments_than_are_kept_open(files: CatalogFiles) -> None:
    segments = [SegmentId(n.to_bytes(32, "big")) for n in range(OPEN_HEADERS + 20)]
    for n, segment in enumerate(segments):
        files.record_headers(segment, 1, {"n": str(n)})
    assert [files.headers(segment, 1) for segment in segments] == [{"n": str(n)} for n in range(len(segments))]


def test_a_disk_that_refuses_headers_fails_no_read(files: CatalogFiles) -> None:
    (Path(files.root) / "headers").rmdir()
    (Path(files.root) / "headers").write_bytes(b"in the way")
    files.record_headers(SegmentId(bytes(32)), 0, {"a": "b"})
    assert files.headers(SegmentId(bytes(32)), 0) is None
