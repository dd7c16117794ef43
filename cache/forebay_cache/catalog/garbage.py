"""Which catalog files no commit needs any more, and their deletion.

Kept are the commits the caller names (heads, retained, mounted, superseded within the hour) and young ones, which may be a
proposal on its way. Everything else goes in an order that never leaves a commit without its files: records first.
"""

import fcntl
import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from forebay_cache.catalog.commit import LeafCommit
from forebay_cache.catalog.edge import Hook, Point, disk, passed
from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.catalog.writer import fsync, lock_catalog, sweep
from forebay_cache.model.ids import CommitId

YOUNG_MS = 3600_000
"""A commit this young is kept, whoever names it."""
FOLDERS = ("commits", "images", "devices", "leaves", "parts", "ancestors", "headers")
"""In the order of deletion."""


@dataclass(frozen=True, slots=True)
class Needed:
    """Names of what a set of commits needs; ids in hex."""

    commits: frozenset[str]
    leaves: frozenset[str]
    segments: frozenset[str]
    ancestors: frozenset[str] = frozenset()
    """Segments that those were merged of: their headers are those of the same objects."""


def needed(files: CatalogFiles, commits: Iterable[LeafCommit]) -> Needed:
    found = list(commits)
    segments = {segment for commit in found for segment in commit.segments()}
    ancestries = filter(None, map(files.ancestry, segments))
    return Needed(
        frozenset(commit.id for commit in found),
        frozenset(leaf.id for commit in found for leaf in commit.record.leaves),
        frozenset(segment.hex() for segment in segments),
        frozenset(segment.hex() for ancestry in ancestries for segment in ancestry.segments),
    )


def unneeded(needs: Needed, folder: str, names: Iterable[str]) -> Iterator[str]:
    """Pure. Those of the files of one folder that may go: `names` without their extension."""
    of_segments = {"parts": needs.segments, "ancestors": needs.segments, "headers": needs.segments | needs.ancestors}
    wanted = needs.leaves if folder == "leaves" else of_segments.get(folder, needs.commits)
    return (name for name in names if name.partition(".")[0] not in wanted)


def collect(files: CatalogFiles, keep: Collection[CommitId], now_ms: int, at: Hook = passed) -> int:
    """Deletes what nothing kept needs -> how many files. 0 while a sync runs: it may count on any file. Blocking.

    Raises CatalogCorrupt or NotFound, and deletes nothing, where a commit cannot be read: nobody knows what it needs.
    """
    lock = lock_catalog(files.root, fcntl.LOCK_EX)
    if lock < 0:
        return 0
    try:
        needs = needed(files, _kept(files, keep, now_ms))
        with disk("deleting unneeded catalog files"):
            sweep(files.root)
            return sum(_clean(files, needs, folder, at) for folder in FOLDERS)
    finally:
        os.close(lock)


def _kept(files: CatalogFiles, keep: Collection[CommitId], now_ms: int) -> Iterator[LeafCommit]:
    for name in os.listdir(files.path("commits")):
        commit = CommitId(name.partition(".")[0])
        if commit in keep or files.record(commit).created_ms > now_ms - YOUNG_MS:
            yield files.commit(commit)


def _clean(files: CatalogFiles, needs: Needed, folder: str, at: Hook) -> int:
    count, top = 0, files.path(folder)
    for place, _, names in os.walk(top):
        for name in list(unneeded(needs, folder, names)):
            at(Point.DELETE)
            if folder == "commits":
                files.forget(CommitId(name.partition(".")[0]))
            os.unlink(os.path.join(place, name))
            count += 1
    if folder == "commits" and count:
        fsync(top)  # before their leaves go, because a record that came back would miss them
    return count
