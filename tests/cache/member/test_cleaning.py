"""A member forgets what nobody wants any more, an hour after the last one did, and nothing else."""

import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.catalog.garbage import give
from forebay_cache.catalog.sources import Mapping
from forebay_cache.catalog.sync import run_sync
from forebay_cache.member.cleaning import GRACE_S, Cleaning, Wants
from forebay_cache.model.ids import CommitId
from forebay_cache.origin.memory import MemoryOrigin


@dataclass
class House:
    """A catalog, who names what, and a clock."""

    files: CatalogFiles
    named: Collection[CommitId] | None = frozenset()
    now_s: float = 0.0
    origin: MemoryOrigin = field(default_factory=lambda: MemoryOrigin({b"a": b"1"}))

    def __post_init__(self) -> None:
        self.cleaning = Cleaning(self.files, lambda: self.named, lambda: self.now_s)

    async def commit(self, data: bytes, parent: CommitId | None = None) -> CommitId:
        self.origin.put(b"a", data)
        mapping = Mapping(b"", b"", self.origin, b"")
        return CommitId((await run_sync(self.files, [mapping], parent, 0, lambda *_: None)).id)

    @property
    def here(self) -> set[CommitId]:
        return set(self.files.commit_ids())

    @property
    def file_count(self) -> int:
        return sum(1 for path in Path(self.files.root).rglob("*") if path.is_file())


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(CatalogFiles(str(tmp_path / "catalog")))


async def test_a_commit_goes_an_hour_after_nobody_wanted_it_any_more(house: House) -> None:
    old = await house.commit(b"1")
    new = await house.commit(b"2", old)
    house.named = {old, new}
    assert await house.cleaning.clean()
    house.now_s += 10 * GRACE_S
    assert await house.cleaning.clean()
    assert house.here == {old, new}
    house.named = {new}
    for _ in range(2):
        assert await house.cleaning.clean()
        assert house.here == {old, new}
        house.now_s += GRACE_S / 2
    before = house.file_count
    assert await house.cleaning.clean()
    assert house.here == {new}
    assert house.file_count == before - 5  # record, image, device table, leaf, parts table


async def test_a_rollback_within_the_hour_counts_anew(house: House) -> None:
    commit = await house.commit(b"1")
    for named in (set[CommitId](), {commit}, set[CommitId]()):
        house.named = named
        await house.cleaning.clean()
        house.now_s += GRACE_S - 1
    await house.cleaning.clean()
    assert house.here == {commit}


async def test_what_a_sync_published_meanwhile_stays(house: House) -> None:
    """It is not named yet, however long it took to be made."""
    house.now_s = 10 * GRACE_S
    await house.cleaning.clean()
    commit = await house.commit(b"1")
    assert await house.cleaning.clean()
    assert house.here == {commit}


async def test_what_is_mounted_stays_until_it_is_not(house: House) -> None:
    commit = await house.commit(b"1")
    mounted = give(house.files.image_path(commit))
    await house.cleaning.clean()
    house.now_s += 2 * GRACE_S
    await house.cleaning.clean()
    assert house.here == {commit}
    os.close(mounted)
    await house.cleaning.clean()
    assert house.here == set()
    assert house.file_count == 1  # the lock


async def test_nothing_goes_before_the_first_state_or_while_a_sync_runs(house: House) -> None:
    await house.commit(b"1")
    await house.cleaning.clean()
    house.now_s += 2 * GRACE_S
    before, house.named = house.file_count, None
    assert not await house.cleaning.clean()
    house.named = set()
    writer = house.files.writer()
    assert not await house.cleaning.clean()
    assert house.file_count == before
    writer.close()
    assert await house.cleaning.clean()
    assert house.here == set()


async def test_a_catalog_that_cannot_be_cleaned_is_told_once(house: House, caplog: pytest.LogCaptureFixture) -> None:
    commit = await house.commit(b"1")
    house.named = {commit}
    for folder in ("devices", "leaves"):
        for path in Path(house.files.path(folder)).iterdir():
            path.unlink()
    house.cleaning = Cleaning(CatalogFiles(house.files.root), lambda: house.named, lambda: house.now_s)
    for _ in range(3):
        assert await house.cleaning.clean()
    (told,) = caplog.records
    assert told.getMessage() == "catalog not cleaned"


def test_only_what_is_here_is_remembered() -> None:
    wants = Wants(lambda: 0.0)
    assert all(wants.stays((), CommitId(str(n))) for n in range(100))
    wants.forget([CommitId("7")])
    assert wants._missed.keys() == {"7"}
