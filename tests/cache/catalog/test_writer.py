"""The writer: whole files under their names, dead writers cleaned up after, living ones left alone."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from forebay_cache.catalog.edge import Point
from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.catalog.writer import lock_catalog
from forebay_cache.model.errors import StoreFailed, StoreFull, SyncConflict


def names(files: CatalogFiles) -> set[str]:
    return {str(path.relative_to(files.root)) for path in Path(files.root).rglob("*") if path.is_file()} - {"lock"}


def test_a_file_has_its_name_only_when_it_is_settled(files: CatalogFiles) -> None:
    writer = files.writer()
    writer.put(b"content", "leaves", "x")
    assert "leaves/x" not in names(files)
    writer.settle()
    assert (Path(files.root) / "leaves/x").read_bytes() == b"content"
    writer.close()
    assert names(files) == {"leaves/x"}


def test_all_bytes_are_durable_before_any_name_and_names_before_the_end(tmp_path: Path) -> None:
    seen: list[Point] = []
    files = CatalogFiles(str(tmp_path), seen.append)
    writer = files.writer()
    writer.put(b"1", "leaves", "x")
    writer.put(b"2", "parts", "aa", "y")
    writer.settle()
    assert seen == [Point.BEGIN, Point.BEGIN, Point.SYNC, Point.NAME, Point.NAME, Point.SYNC_FOLDERS]
    writer.settle()
    assert len(seen) == 6
    writer.close()


def test_a_file_that_is_there_is_left_alone(files: CatalogFiles) -> None:
    for data in (b"first", b"second"):
        writer = files.writer()
        writer.put(data, "leaves", "x")
        writer.settle()
        writer.close()
    assert (Path(files.root) / "leaves/x").read_bytes() == b"first"


def test_what_was_not_settled_is_dropped(files: CatalogFiles) -> None:
    writer = files.writer()
    writer.put(b"1", "leaves", "x")
    writer.close()
    assert names(files) == set()


def test_a_living_writers_files_are_left_alone_and_a_dead_ones_removed(files: CatalogFiles) -> None:
    living = files.writer()
    living.put(b"1", "leaves", "x")
    dead = Path(files.root) / "tmp" / "dead"
    dead.mkdir()
    (dead / "half").write_bytes(b"a file")
    files.writer().close()
    assert not dead.exists()
    living.settle()
    living.close()
    assert names(files) == {"leaves/x"}


def test_none_writes_while_the_catalog_is_cleaned(files: CatalogFiles) -> None:
    lock = lock_catalog(files.root, fcntl.LOCK_EX)
    with pytest.raises(SyncConflict) as caught:
        files.writer()
    assert caught.value.retry
    os.close(lock)
    writer = files.writer()
    assert lock_catalog(files.root, fcntl.LOCK_EX) == -1
    writer.close()


@pytest.mark.parametrize(
    ("code", "kind"),
    [(errno.ENOSPC, StoreFull), (errno.EDQUOT, StoreFull), (errno.EIO, StoreFailed), (errno.EROFS, StoreFailed)],
)
@pytest.mark.parametrize("point", [Point.BEGIN, Point.SYNC, Point.NAME, Point.SYNC_FOLDERS])
def test_a_disks_error_becomes_ours_at_every_point(
    tmp_path: Path, code: int, kind: type[Exception], point: Point
) -> None:
    def fail(at: Point) -> None:
        if at == point:
            raise OSError(code, os.strerror(code))

    writer = CatalogFiles(str(tmp_path), fail).writer()

    def write() -> None:
        writer.put(b"1", "leaves", "x")
        writer.settle()

    with pytest.raises(kind, match="catalog's disk"):
        write()
    writer.close()
    assert list((tmp_path / "tmp").iterdir()) == []
