"""Damaged files leave the shelf, a few are kept, and people are told what it means."""

import os
from pathlib import Path

import pytest

from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.catalog.quarantine import LIMIT

SEGMENT = "ab" * 32


def put(files: CatalogFiles, *names: str) -> Path:
    path = Path(files.path(*names))
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"?")
    return path


@pytest.mark.parametrize("names", [("parts", "ab", SEGMENT), ("images", "c.erofs"), ("commits", "c.json")])
def test_a_file_is_moved_aside_and_told_until_it_is_replaced(
    files: CatalogFiles, names: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    path = put(files, *names)
    for _ in range(2):  # two may meet it at once
        files.quarantine.take(*names)
    assert not path.exists()
    assert files.quarantine.holds(*names)
    (problem,) = files.quarantine.problems()
    assert problem.name == f"{names[0]}/{names[-1]}"
    assert "forebay sync" in problem.message
    assert [one.getMessage() for one in caplog.records] == ["catalog file damaged, set aside"]
    put(files, *names)
    assert files.quarantine.problems() == []


def test_what_costs_nobody_anything_is_not_told(files: CatalogFiles) -> None:
    put(files, "ancestors", "ab", SEGMENT)
    files.quarantine.take("ancestors", "ab", SEGMENT)
    assert files.quarantine.problems() == []


def test_only_the_newest_are_kept(files: CatalogFiles) -> None:
    for n in range(LIMIT + 5):
        put(files, "leaves", str(n))
        files.quarantine.take("leaves", str(n))
        os.utime(files.path("quarantine", f"leaves.{n}"), (n, n))
    assert {name for _, name in files.quarantine.names()} == {str(n) for n in range(5, LIMIT + 5)}
