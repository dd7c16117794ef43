"""A catalog with a history, and what another has of it."""

from pathlib import Path

from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.catalog.gathering import Gathering, Incoming, finish
from forebay_cache.catalog.giving import CatalogGiving
from forebay_cache.catalog.sources import Mapping
from forebay_cache.catalog.sync import run_sync
from forebay_cache.model.errors import NotFound
from forebay_cache.model.ids import CHUNK_SIZE, CommitId
from forebay_cache.origin.memory import MemoryOrigin
from forebay_cache.transfer.base import FileName, Folder

MINE = ("commits", "leaves", "parts", "ancestors", "images", "devices")


async def history(files: CatalogFiles, origin: MemoryOrigin, count: int = 12) -> list[CommitId]:
    """So many syncs, each of one more file, so that segments are merged; and a large object."""
    origin.put(b"big", bytes(CHUNK_SIZE + 5))
    found: list[CommitId] = []
    for n in range(count):
        origin.put(b"f/%04d" % (n * 37 % 1000), b"%d" % n * 100)
        mapping = Mapping(b"", b"", origin, b"%d" % n)
        found.append(CommitId((await run_sync(files, [mapping], found[-1] if found else None, 0, lambda *_: None)).id))
    return found


def on_disk(files: CatalogFiles) -> dict[str, bytes]:
    """All catalog files but what a member notes for itself."""
    root = Path(files.root)
    paths = (path for folder in MINE for path in (root / folder).rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def needed(there: CatalogFiles, commit: CommitId) -> dict[str, bytes]:
    """Those of `there` that a commit needs."""
    record = there.record(commit)
    segments = {segment.hex() for segment in there.commit(commit).segments()}
    stems = {commit, *(leaf.id for leaf in record.leaves), *segments}
    return {name: data for name, data in on_disk(there).items() if Path(name).name.partition(".")[0] in stems}


def copy(gathering: Gathering, there: CatalogFiles, *, ends: bool = True) -> None:
    """Brings a commit from a catalog of this machine; `ends`: with its image and record."""
    giving = CatalogGiving(there)

    def bring(name: FileName) -> Incoming | None:
        try:
            fd = giving.open(name)
        except NotFound:
            return None
        one = gathering.incoming(name)
        with open(fd, "rb") as file:
            while data := file.read(100_000):
                one.write(memoryview(data))
        one.check()
        return one

    gathering.begin()
    names = [] if gathering.record else [FileName(Folder.COMMITS, bytes.fromhex(gathering.commit))]
    for name in names:
        gathering.take(*filter(None, [bring(name)]))
    for name in gathering.missing_leaves():
        gathering.take(*filter(None, [bring(name)]))
    for name in gathering.missing_segments():
        gathering.take(*filter(None, [bring(FileName(Folder.ANCESTORS, name.id)), bring(name)]))
    gathering.settle()
    if ends:
        finish(gathering.files, gathering.commit, gathering.record_path)
