"""Whatever catalog file is damaged, and however: nothing wrong is ever read, it is told once, and the next sync heals it."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from forebay_cache.catalog import leaf
from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.catalog.sources import Mapping
from forebay_cache.catalog.sync import mend_all, run_sync
from forebay_cache.contract.admin import CommitReport
from forebay_cache.model.errors import CatalogCorrupt, NotFound
from forebay_cache.model.ids import CHUNK_SIZE, CommitId
from forebay_cache.origin.memory import MemoryOrigin

KINDS = ("commits", "leaves", "parts", "images", "devices", "ancestors")
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "first bit": lambda data: bytes((data[0] ^ 1,)) + data[1:],
    "a bit of the header": lambda data: data[:9] + bytes((data[9] ^ 4,)) + data[10:],
    "a bit in the middle": lambda data: (
        data[: len(data) // 2] + bytes((data[len(data) // 2] ^ 1,)) + data[len(data) // 2 + 1 :]
    ),
    "last bit": lambda data: data[:-1] + bytes((data[-1] ^ 1,)),
    "half of it": lambda data: data[: len(data) // 2],
    "all of it": lambda _: b"",
    "more than it": lambda data: data + bytes(16),
    "zeros": lambda data: bytes(len(data)),
}


@pytest.fixture(autouse=True)
def small_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a commit has several."""
    monkeypatch.setattr(leaf, "LEAST", 10)
    monkeypatch.setattr(leaf, "MEAN", 20)


@pytest.fixture
def origin() -> MemoryOrigin:
    return MemoryOrigin({b"a/%03d" % n: b"%d" % n * 3000 for n in range(80)} | {b"big": bytes(CHUNK_SIZE + 1)})


async def synced(files: CatalogFiles, origin: MemoryOrigin, parent: str | None = None) -> CommitReport:
    mapping = Mapping(b"", b"", origin, b"")
    return await run_sync(files, [mapping], CommitId(parent) if parent else None, 7, lambda *_: None)


async def grown(files: CatalogFiles, origin: MemoryOrigin) -> CommitReport:
    """A commit with a merged segment, of several syncs."""
    head = await synced(files, origin)
    for group in range(8):
        for n in range(8):
            origin.put(b"b/%d/%d" % (n, group), b"%d" % n * 3000)
        head = await synced(files, origin, head.id)
    return head


def listed(files: CatalogFiles, commit: str) -> Sequence[tuple[bytes, int, str, bytes]]:
    """What a reader learns of each file: key, size, ETag, and which object holds its bytes."""
    found = []
    for entry in files.commit(CommitId(commit)):
        part = files.parts(entry.extent.segment).at(entry.extent.offset)
        found.append((entry.key, entry.size, entry.etag, part.key))
    return found


def of_kind(files: CatalogFiles, kind: str) -> list[Path]:
    return sorted(path for path in Path(files.path(kind)).rglob("*") if path.is_file())


def spoil(path: Path, damage: Callable[[bytes], bytes]) -> None:
    data = path.read_bytes()
    path.unlink()  # what is mapped stays as it was
    path.write_bytes(damage(data))


def use(files: CatalogFiles, commit: str) -> Sequence[tuple[bytes, int, str, bytes]]:
    """All that readers and mounts use. Raises CatalogCorrupt, NotFound."""
    found = listed(files, commit)
    assert os.path.getsize(files.image_path(CommitId(commit)))
    assert files.device_table(CommitId(commit))
    for segment in files.commit(CommitId(commit)).segments():
        for part in range(len(files.parts(segment))):
            assert all(one.offset < CHUNK_SIZE for one in files.ancestors(segment, part))
    return found


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_damaged_file_is_never_believed_is_told_once_and_is_healed_by_the_next_sync(
    files: CatalogFiles, origin: MemoryOrigin, kind: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    head = await grown(files, origin)
    good = use(files, head.id)
    for path in of_kind(files, kind):
        spoil(path, DAMAGES[damage])
    count = len(of_kind(files, kind))
    assert count
    fresh = CatalogFiles(files.root)  # as after a restart
    caplog.clear()
    complaints: list[str] = []
    for _ in range(3):
        try:
            found = use(fresh, head.id)
        except (CatalogCorrupt, NotFound) as exc:
            complaints.append(str(exc))
        else:
            assert found == good  # ancestors are a hint: without them the origin is asked
    assert all("forebay sync" in complaint for complaint in complaints)
    told = [one for one in caplog.records if one.getMessage() == "catalog file damaged, set aside"]
    harmless = (kind, damage) == ("commits", "last bit")  # a line's end
    assert (0 if harmless else 1) <= len(told) <= count
    assert bool(fresh.quarantine.problems()) == (kind != "ancestors" and not harmless)
    assert all("forebay sync" in one.message for one in fresh.quarantine.problems())

    parent = head.id
    for _ in range(count + 1):  # what is damaged shows when it is used
        with suppress(CatalogCorrupt):
            parent = (await synced(CatalogFiles(files.root), origin, parent)).id
            if use(CatalogFiles(files.root), parent) == good:
                return
    pytest.fail("it is never healed")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_lost_file_is_no_better_and_no_worse(files: CatalogFiles, origin: MemoryOrigin, kind: str) -> None:
    head = await grown(files, origin)
    good = use(files, head.id)
    for path in of_kind(files, kind):
        path.unlink()
    fresh = CatalogFiles(files.root)
    assert use(CatalogFiles(files.root), (await synced(fresh, origin, head.id)).id) == good


async def test_the_files_of_what_is_whole_keep_their_extents(files: CatalogFiles, origin: MemoryOrigin) -> None:
    """So that they are not fetched again."""
    head = await grown(files, origin)
    before = {entry.key: entry.extent for entry in files.commit(CommitId(head.id))}
    victim = files.commit(CommitId(head.id)).leaves[1]
    lost = {entry.key for entry in victim.entries()}
    spoil(Path(files.path("leaves", files.record(CommitId(head.id)).leaves[1].id)), lambda _: b"")
    fresh = CatalogFiles(files.root)
    after = {entry.key: entry.extent for entry in fresh.commit(CommitId((await synced(fresh, origin, head.id)).id))}
    kept = {key for key in after if after[key].segment == before[key].segment}
    assert kept == before.keys() - lost or not kept  # a merge may have moved the small rest with them


async def test_image_and_device_table_of_an_older_commit_are_written_again(
    files: CatalogFiles, origin: MemoryOrigin
) -> None:
    first = await synced(files, origin)
    origin.put(b"a/new", b"new")
    await synced(files, origin, first.id)
    commit = CommitId(first.id)
    image, table = Path(files.image_path(commit)).read_bytes(), Path(files.devices_path(commit)).read_bytes()
    for path in (files.image_path(commit), files.devices_path(commit)):
        spoil(Path(path), lambda data: data[:-5])
    fresh = CatalogFiles(files.root)
    await mend_all(fresh, [commit, CommitId("0" * 64)])
    assert Path(fresh.image_path(commit)).read_bytes() == image
    assert Path(fresh.devices_path(commit)).read_bytes() == table
    assert fresh.report(commit) == first
    assert fresh.quarantine.problems() == []
