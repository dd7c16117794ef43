"""What comes from other members: right or not at all, and a death at any moment leaves no commit that lacks a file."""

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.rigs.gathered import copy, history, needed, on_disk

from forebay_cache.catalog import garbage
from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.catalog.gathering import Gathering, whole
from forebay_cache.model.errors import CatalogCorrupt, SyncConflict
from forebay_cache.model.ids import CommitId
from forebay_cache.origin.memory import MemoryOrigin
from forebay_cache.transfer.base import FileName, Folder


@dataclass
class Two:
    """Catalog `there` has `commits`; `here` is another's."""

    there: CatalogFiles
    here: CatalogFiles
    commits: list[CommitId]

    @property
    def head(self) -> CommitId:
        return self.commits[-1]


@pytest.fixture
async def two(tmp_path: Path) -> Two:
    there = CatalogFiles(str(tmp_path / "there"))
    commits = await history(there, MemoryOrigin())
    assert os.listdir(there.path("ancestors"))
    return Two(there, CatalogFiles(str(tmp_path / "here")), commits)


@pytest.fixture
def gathering(two: Two) -> Iterator[Gathering]:
    with closing(Gathering(two.here, two.head)) as found:
        yield found


def gather(two: Two, commit: CommitId) -> None:
    with closing(Gathering(two.here, commit)) as found:
        copy(found, two.there)


def damaged(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def test_a_commit_is_the_same_to_the_last_byte(two: Two) -> None:
    wanted = needed(two.there, two.head)
    assert {name.partition("/")[0] for name in wanted} == {
        *("commits", "leaves", "parts", "ancestors", "images", "devices"),
    }
    assert not whole(two.here, two.head)
    gather(two, two.head)
    assert whole(two.here, two.head)
    assert on_disk(two.here) == wanted
    assert list(two.here.commit(two.head)) == list(two.there.commit(two.head))
    assert not os.listdir(two.here.path("tmp"))


def test_commits_share_what_they_have_in_common(two: Two) -> None:
    for commit in two.commits:
        gather(two, commit)
    assert on_disk(two.here).keys() >= needed(two.there, two.head).keys()
    with closing(Gathering(two.here, two.head)) as again:
        again.begin()
        assert again.record
        assert not again.missing_leaves()
        assert not again.missing_segments()


async def test_an_empty_commit_comes_as_well(tmp_path: Path) -> None:
    there, here = (CatalogFiles(str(tmp_path / name)) for name in ("there", "here"))
    origin = MemoryOrigin({b"a": b""})
    commit = (await history(there, origin, 1))[0]
    gather(Two(there, here, []), commit)
    assert on_disk(here) == needed(there, commit)


@pytest.mark.parametrize("folder", Folder)
def test_what_does_not_match_its_name_is_refused(two: Two, gathering: Gathering, folder: Folder) -> None:
    path = next(Path(two.there.path(folder.name.lower())).rglob("*[0-9a-f]*"))
    path = next(p for p in (path, *path.rglob("*")) if p.is_file())
    gathering.begin()
    for data in (damaged(path.read_bytes()), path.read_bytes()[:-2], b"x"):
        one = gathering.incoming(FileName(folder, bytes.fromhex(path.name.partition(".")[0])))
        one.write(memoryview(data))
        with pytest.raises(CatalogCorrupt):
            one.check()
        gathering.drop(one)
    gathering.close()
    assert not on_disk(two.here)
    assert not os.listdir(two.here.path("tmp"))


def test_the_record_of_another_commit_is_refused(two: Two, gathering: Gathering) -> None:
    gathering.begin()
    one = gathering.incoming(FileName(Folder.COMMITS, bytes.fromhex(two.head)))
    one.write(memoryview(Path(two.there.path("commits", f"{two.commits[0]}.json")).read_bytes()))
    with pytest.raises(CatalogCorrupt):
        one.check()


def test_nothing_is_cleaned_meanwhile_and_nothing_begins_while_it_is(two: Two, gathering: Gathering) -> None:
    gathering.begin()
    assert garbage.collect(two.here, lambda _: False) is None
    gathering.close()
    assert garbage.collect(two.here, lambda _: False) == 0
    lock = garbage.lock_catalog(two.here.root, garbage.fcntl.LOCK_EX)
    with pytest.raises(SyncConflict):
        gathering.begin()
    os.close(lock)


def test_what_was_settled_is_not_asked_for_again(two: Two, gathering: Gathering) -> None:
    gathering.begin()
    leaf = next(Path(two.there.path("leaves")).iterdir())
    one = gathering.incoming(FileName(Folder.LEAVES, bytes.fromhex(leaf.name)))
    one.write(memoryview(leaf.read_bytes()))
    one.check()
    gathering.take(one)
    gathering.settle()
    gathering.close()
    assert list(on_disk(two.here)) == [f"leaves/{leaf.name}"]


@pytest.mark.parametrize("folder", ["images", "devices", "leaves", "commits"])
def test_what_was_lost_here_comes_again(two: Two, folder: str) -> None:
    gather(two, two.head)
    before = on_disk(two.here)
    for path in Path(two.here.path(folder)).iterdir():
        path.unlink()
    assert not whole(CatalogFiles(two.here.root), two.head)
    gather(two, two.head)
    assert whole(two.here, two.head)
    assert on_disk(two.here) == before


def test_that_a_segment_has_ancestors_is_known_once_they_are_here(two: Two) -> None:
    merged = next(one for one in two.there.commit(two.head).segments() if two.there.ancestors(one, 0))
    assert not two.here.ancestors(merged, 0)
    gather(two, two.head)
    assert two.here.ancestors(merged, 0) == two.there.ancestors(merged, 0)


def killed(two: Two, nth: int) -> int:
    """-> the child's status: 0 if it was done before its nth change of the disk."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    left = [nth]

    def moment(*_: object) -> None:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        copy(Gathering(CatalogFiles(two.here.root, moment), two.head), two.there)
        os._exit(0)
    finally:
        os._exit(1)


def test_a_death_at_any_moment_leaves_no_commit_that_lacks_a_file(two: Two) -> None:
    wanted, nth, deaths = needed(two.there, two.head), 0, 0
    while True:
        nth += 1
        status = killed(two, nth)
        found = on_disk(two.here)
        assert found.items() <= wanted.items(), "under its name a file is whole"
        if f"commits/{two.head}.json" in found:
            assert found == wanted
        if not status:
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
        deaths += 1
        if nth % 2:  # each second one goes on from where the one before was
            for name in found:
                Path(two.here.root, name).unlink()
    assert deaths > 10
    assert on_disk(two.here) == wanted
    CatalogFiles(two.here.root).writer().close()
    assert not os.listdir(two.here.path("tmp"))
