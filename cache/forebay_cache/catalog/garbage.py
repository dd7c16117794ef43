"""Which catalog files no commit needs any more, and their deletion.

Kept are the commits that the caller wants, and those that are mounted on this node. Everything else goes in an order that never
leaves a commit without its files: records first. Chunks of a segment that is forgotten here stay in the store until its policy
evicts them: nobody asks for them.
"""

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from forebay_cache.catalog.commit import Record
from forebay_cache.catalog.edge import Hook, Point, disk, passed
from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.catalog.writer import fsync, lock_catalog, sweep, try_lock
from forebay_cache.model.errors import CatalogCorrupt, NotFound
from forebay_cache.model.ids import CommitId, SegmentId

Wanted = Callable[[CommitId], bool]
"""Whether a commit has to stay. Asked when no sync can add one any more."""
FOLDERS = ("commits", "images", "devices", "leaves", "parts", "ancestors", "headers")
"""In the order of deletion."""
COMMITS_LIMIT = 256
"""Commits that go at once: each holds two descriptors meanwhile."""


@dataclass(frozen=True, slots=True)
class Needed:
    """Names of what a set of commits needs; ids in hex."""

    commits: frozenset[str]
    leaves: frozenset[str]
    segments: frozenset[str]
    ancestors: frozenset[str] = frozenset()
    """Segments that those were merged of: their headers are those of the same objects."""


def needed(files: CatalogFiles, commits: Iterable[CommitId]) -> Needed:
    """Raises CatalogCorrupt, NotFound where nobody knows what a commit needs."""
    found = list(commits)
    segments = {segment for commit in found for segment in _segments(files, commit)}
    ancestries = filter(None, map(files.ancestry, segments))
    return Needed(
        frozenset(found),
        frozenset(leaf.id for commit in found if (record := _record(files, commit)) for leaf in record.leaves),
        frozenset(segment.hex() for segment in segments),
        frozenset(segment.hex() for ancestry in ancestries for segment in ancestry.segments),
    )


def unneeded(needs: Needed, folder: str, names: Iterable[str]) -> Iterator[str]:
    """Pure. Those of the files of one folder that may go: `names` without their extension."""
    of_segments = {"parts": needs.segments, "ancestors": needs.segments, "headers": needs.segments | needs.ancestors}
    wanted = needs.leaves if folder == "leaves" else of_segments.get(folder, needs.commits)
    return (name for name in names if name.partition(".")[0] not in wanted)


def collect(files: CatalogFiles, wanted: Wanted, at: Hook = passed) -> int | None:
    """Deletes what nothing kept needs -> how many files; None: not now, because a sync runs, which may count on any file.
    Blocking. May be killed at any point.

    Raises CatalogCorrupt or NotFound, and deletes nothing, where a commit that is kept cannot be read: nobody knows what it
    needs. Raises StoreFailed.
    """
    with ExitStack() as held, disk("deleting unneeded catalog files"):
        lock = lock_catalog(files.root, fcntl.LOCK_EX)
        if lock < 0:
            return None
        held.callback(os.close, lock)
        needs = needed(files, list(_kept(files, wanted, held)))
        sweep(files.root)
        count = sum(_clean(files, needs, folder, at) for folder in FOLDERS)
        _clean_quarantine(files, needs, wanted)
        return count


def give(path: str) -> int:
    """A descriptor of an image or a device table, for a mount; it keeps the commit for as long as anyone has it open. Raises
    NotFound where the file is about to be deleted, OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if try_lock(fd, fcntl.LOCK_SH) and os.fstat(fd).st_nlink:
            return fd
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    raise NotFound(f"catalog file {os.path.basename(path)} is being deleted: no Dataset has its commit any more")


def _kept(files: CatalogFiles, wanted: Wanted, held: ExitStack) -> Iterator[CommitId]:
    """Of the commits that may go, `held` keeps the image and the device table from being mounted meanwhile."""
    going = 0
    for commit in files.commit_ids():
        if wanted(commit) or going == COMMITS_LIMIT or not _withdrawn(files, commit, held):
            yield commit
        else:
            going += 1


def _record(files: CatalogFiles, commit: CommitId) -> Record | None:
    """None where it is damaged or lost: a mount needs none, and nothing else can use the commit."""
    try:
        return files.record(commit)
    except (NotFound, CatalogCorrupt):
        return None


def _withdrawn(files: CatalogFiles, commit: CommitId, held: ExitStack) -> bool:
    """Whether no mount has the commit, and none will. What `give` gave to an agent is locked for as long as the agent or the
    kernel has it open: whatever becomes of us or of the agent, as long as the mount."""
    for path in (files.path("images", f"{commit}.erofs"), files.path("devices", commit)):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        held.callback(os.close, fd)
        if not try_lock(fd, fcntl.LOCK_EX):
            return False
    return True


def _segments(files: CatalogFiles, commit: CommitId) -> Iterable[SegmentId]:
    """By the device table, which lists them; by the leaves where that cannot be read."""
    try:
        return [placed.segment for device in files.device_table(commit) for placed in device.placed]
    except (NotFound, CatalogCorrupt):
        return files.leaf_commit(files.record(commit)).segments()


def _clean(files: CatalogFiles, needs: Needed, folder: str, at: Hook) -> int:
    count, top = 0, files.path(folder)
    for place, _, names in os.walk(top):
        within = os.path.relpath(place, top).removeprefix(".")
        for name in unneeded(needs, folder, names):
            at(Point.DELETE)
            files.forget(folder, *filter(None, (within, name)))
            os.unlink(os.path.join(place, name))
            count += 1
    if folder == "commits" and count:
        fsync(top)  # before their leaves go, because a record that came back would miss them
    return count


def _clean_quarantine(files: CatalogFiles, needs: Needed, wanted: Wanted) -> None:
    """What nobody misses need not be told any more."""
    for folder, file in files.quarantine.names():
        stem = file.partition(".")[0]
        missed = folder in ("commits", "images", "devices") and wanted(CommitId(stem))
        if not missed and list(unneeded(needs, folder, [file])):
            files.quarantine.forget(folder, file)
