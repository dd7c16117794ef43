"""The image is made by a process of its own, which may die."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.rigs.gathered import copy, history, needed, on_disk

from forebay_cache.catalog import garbage
from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.catalog.gathering import Gathering, whole
from forebay_cache.member import assembling
from forebay_cache.member.assembling import assembled
from forebay_cache.model.errors import StoreFailed
from forebay_cache.model.ids import CommitId
from forebay_cache.origin.memory import MemoryOrigin


@pytest.fixture
async def gathering(tmp_path: Path) -> AsyncIterator[Gathering]:
    """All but the image and the record is here."""
    there = CatalogFiles(str(tmp_path / "there"))
    commit = (await history(there, MemoryOrigin(), 2))[-1]
    with closing(Gathering(CatalogFiles(str(tmp_path / "here")), commit)) as found:
        copy(found, there, ends=False)
        yield found


async def test_the_child_makes_the_commit_whole(gathering: Gathering, tmp_path: Path) -> None:
    assert not whole(gathering.files, gathering.commit)
    await assembled(gathering)
    assert whole(gathering.files, gathering.commit)
    assert on_disk(gathering.files) == needed(CatalogFiles(str(tmp_path / "there")), gathering.commit)


async def test_why_it_could_not_is_told(gathering: Gathering) -> None:
    gathering.commit = CommitId("ab" * 32)
    with pytest.raises(StoreFailed, match="is that of"):
        await assembled(gathering)
    assert not os.listdir(gathering.files.path("commits"))


async def test_a_child_that_dies_without_a_word_is_told(gathering: Gathering, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembling, "command", lambda _: (sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"))
    with pytest.raises(StoreFailed, match="status -9"):
        await assembled(gathering)
    monkeypatch.setattr(assembling, "command", lambda _: ("/no/such/program",))
    with pytest.raises(StoreFailed, match="No such file"):
        await assembled(gathering)


async def test_no_child_outlives_its_cancellation(
    gathering: Gathering, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = tmp_path / "pid"
    program = (
        f"import os, time; open({str(told)!r} + 'x', 'w').write(str(os.getpid())); "
        f"os.rename({str(told)!r} + 'x', {str(told)!r}); time.sleep(60)"
    )
    monkeypatch.setattr(assembling, "command", lambda _: (sys.executable, "-c", program))
    task = asyncio.ensure_future(assembled(gathering))
    async with asyncio.timeout(30):
        while not told.exists():
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(int(told.read_text()), 0)
    gathering.close()
    assert garbage.collect(gathering.files, lambda _: False) is not None
