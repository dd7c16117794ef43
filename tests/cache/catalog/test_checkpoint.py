"""Checkpoints: what was found is found again; what is torn, stale or another's is not believed."""

import os
from pathlib import Path

import pytest

from forebay_cache.catalog.checkpoint import STALE_MS, FileCheckpoint, NoCheckpoint, Range, open_checkpoint
from forebay_cache.origin.base import OriginObject

PAGES = [[OriginObject(b"k%d-%d" % (n, m), m, n, "é", None if m else "v") for m in range(4)] for n in range(5)]


def opened(root: Path, now_ms: int = 0, sources: tuple[str, ...] = ("s",)) -> FileCheckpoint:
    found = open_checkpoint(str(root), sources, now_ms)
    assert isinstance(found, FileCheckpoint)
    return found


def filled(root: Path, *, end: bool = False) -> Path:
    """A checkpoint with PAGES, closed as by a kill -> its spool file."""
    checkpoint = opened(root)
    checkpoint.keep_plan(0, [Range(last=b"a"), Range(b"a")])
    spool = checkpoint.spool(0, 1)
    assert list(spool.pages()) == []
    for page in PAGES:
        spool.add(page)
    if end:
        spool.end()
    spool.close()
    checkpoint.close()
    (path,) = root.glob("*/0-1")
    return path


@pytest.mark.parametrize("end", [False, True])
def test_pages_and_plan_are_found_again(tmp_path: Path, end: bool) -> None:
    filled(tmp_path, end=end)
    checkpoint = opened(tmp_path)
    assert checkpoint.plan(0) == [Range(b"", b"a"), Range(b"a", b"")]
    assert checkpoint.plan(1) is None
    spool = checkpoint.spool(0, 1)
    assert list(spool.pages()) == PAGES
    assert spool.complete is end
    spool.close()
    checkpoint.close()


def test_a_file_torn_anywhere_gives_its_whole_pages_and_is_written_on(tmp_path: Path) -> None:
    path = filled(tmp_path)
    data = path.read_bytes()
    for cut in range(0, len(data), 11):
        for rest in (b"", bytes(40), b"\xff" * 9):
            path.write_bytes(data[:cut] + rest)
            checkpoint = opened(tmp_path)
            spool = checkpoint.spool(0, 1)
            found = list(spool.pages())
            assert found == PAGES[: len(found)]
            spool.add(PAGES[0])
            spool.close()
            again = checkpoint.spool(0, 1)
            assert list(again.pages()) == [*found, PAGES[0]]
            again.close()
            checkpoint.close()


def test_what_is_stale_is_not_believed(tmp_path: Path) -> None:
    filled(tmp_path)
    checkpoint = opened(tmp_path, STALE_MS + 1)
    assert checkpoint.plan(0) is None
    spool = checkpoint.spool(0, 1)
    assert list(spool.pages()) == []
    spool.close()
    checkpoint.close()


def test_another_plan_forgets_the_pages_of_the_old_one(tmp_path: Path) -> None:
    filled(tmp_path)
    checkpoint = opened(tmp_path)
    checkpoint.keep_plan(0, [Range()])
    spool = checkpoint.spool(0, 1)
    assert list(spool.pages()) == []
    spool.close()
    checkpoint.close()


def test_other_sources_have_another_checkpoint(tmp_path: Path) -> None:
    filled(tmp_path)
    checkpoint = opened(tmp_path, sources=("s", "t"))
    assert checkpoint.plan(0) is None
    checkpoint.close()


def test_one_sync_uses_it_at_a_time(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path)
    assert isinstance(open_checkpoint(str(tmp_path), ["s"], 0), NoCheckpoint)
    checkpoint.close()
    opened(tmp_path).close()


def test_it_is_gone_when_the_sync_is_done(tmp_path: Path) -> None:
    filled(tmp_path)
    checkpoint = opened(tmp_path)
    checkpoint.discard()
    checkpoint.close()
    assert list(tmp_path.iterdir()) == []


def test_what_nobody_came_back_for_is_swept(tmp_path: Path) -> None:
    folder = filled(tmp_path).parent
    os.utime(folder, (1000, 1000))
    opened(tmp_path, 1_000_000 + STALE_MS + 1, ("other",)).close()
    assert not folder.exists()
