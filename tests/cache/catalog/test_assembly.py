"""The last steps of a commit, and the same again where their files were lost."""

from contextlib import closing
from pathlib import Path

import pytest

from forebay_cache.catalog.assembly import mend
from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.catalog.sources import Mapping
from forebay_cache.catalog.sync import run_sync
from forebay_cache.model.errors import NotFound
from forebay_cache.model.ids import CommitId
from forebay_cache.origin.memory import MemoryOrigin

OBJECTS = {b"a/%d" % n: b"%d" % n * 1000 for n in range(50)} | {b"a/7/x": b"a directory beats a file"}


@pytest.fixture
async def commit(files: CatalogFiles) -> CommitId:
    mapping = Mapping(b"", b"", MemoryOrigin(OBJECTS), b"")
    return CommitId((await run_sync(files, [mapping], None, 5, lambda *_: None)).id)


@pytest.mark.parametrize("lost", [("images",), ("devices",), ("images", "devices")])
def test_what_was_lost_is_the_same_again(files: CatalogFiles, commit: CommitId, lost: tuple[str, ...]) -> None:
    before = {
        path: path.read_bytes() for folder in ("images", "devices") for path in Path(files.path(folder)).iterdir()
    }
    record = files.record(commit)
    for folder in lost:
        for path in Path(files.path(folder)).iterdir():
            path.unlink()
    with closing(files.writer()) as writer:
        assert mend(files, writer, commit)
        assert not mend(files, writer, commit)
    assert {path: path.read_bytes() for path in before} == before
    assert files.record(commit) == record
    assert record.unmountable == 1


def test_more_than_these_is_not_mended(files: CatalogFiles, commit: CommitId) -> None:
    Path(files.image_path(commit)).unlink()
    for path in Path(files.path("leaves")).iterdir():
        path.unlink()
    with closing(files.writer()) as writer, pytest.raises(NotFound):
        mend(CatalogFiles(files.root), writer, commit)
