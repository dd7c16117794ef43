"""Catalog files on disk: immutable, named by their content. `CatalogWriter` writes them, `garbage` deletes them.

commits/<commit>.json   leaves/<sha>   parts/<xx>/<segment>   images/<commit>.erofs   devices/<commit>
ancestors/<xx>/<segment>   headers/<xx>/<segment>.{sets,index}   checkpoints/<sources>/   quarantine/   tmp/<writer>/   lock
"""

import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar
from weakref import WeakValueDictionary

from forebay_cache.catalog import commit as commits
from forebay_cache.catalog import devices
from forebay_cache.catalog.ancestors import Ancestry
from forebay_cache.catalog.base import Ancestor, Device
from forebay_cache.catalog.edge import Hook, disk, passed
from forebay_cache.catalog.headers import HeaderRecords
from forebay_cache.catalog.leaf import Leaf
from forebay_cache.catalog.parts import PartsTable
from forebay_cache.catalog.verified import VerifiedFiles
from forebay_cache.catalog.writer import CatalogWriter
from forebay_cache.contract.admin import CommitReport
from forebay_cache.model.errors import CatalogCorrupt, NotFound, StoreFailed
from forebay_cache.model.ids import CommitId, SegmentId

K = TypeVar("K")
T = TypeVar("T")
FOLDERS = (
    "commits", "leaves", "parts", "ancestors", "images", "devices", "headers", "checkpoints", "quarantine", "tmp",
)  # fmt: skip
OPEN_SMALL = 16384
OPEN_MAPPED = 256
"""Parts tables."""
OPEN_HEADERS = 64
OPEN_ANCESTRIES = 2048
UNMERGED_LIMIT = 1 << 16
"""Segments that are known to have no ancestors."""
OPEN_COMMITS = 16


class CatalogFiles:
    """Implements Catalog. Thread-safe; a file is verified against its name when it is first opened."""

    def __init__(self, root: str, at: Hook = passed) -> None:
        self.root = root
        self._at = at
        with disk(f"opening {root}"):
            for folder in FOLDERS:
                os.makedirs(os.path.join(root, folder), mode=0o700, exist_ok=True)
        self._verified = VerifiedFiles(root)
        self.quarantine = self._verified.quarantine
        self._lock = threading.Lock()
        self._small: dict[SegmentId, PartsTable] = {}
        self._mapped: dict[SegmentId, PartsTable] = {}
        self._headers: dict[SegmentId, HeaderRecords] = {}
        self._ancestries: dict[SegmentId, Ancestry] = {}
        self._unmerged: dict[SegmentId, None] = {}
        self._commits: dict[CommitId, commits.LeafCommit] = {}
        self._leaves: WeakValueDictionary[str, Leaf] = WeakValueDictionary()

    def commit(self, commit: CommitId) -> commits.LeafCommit:
        return self._commits.get(commit) or self._keep(
            self._commits, commit, self.leaf_commit(self.record(commit)), OPEN_COMMITS
        )

    def parts(self, segment: SegmentId) -> PartsTable:
        found = self.opened(segment)
        if found:
            return found
        self.ancestors(segment, 0)  # asked for next, and then at once
        name = segment.hex()
        data = self._verified.load("parts", name[:2], name)
        table = PartsTable(segment, data)
        if isinstance(data, bytes):
            return self._keep(self._small, segment, table, OPEN_SMALL)
        return self._keep(self._mapped, segment, table, OPEN_MAPPED)

    def opened(self, segment: SegmentId) -> PartsTable | None:
        return self._mapped.get(segment) or self._small.get(segment)

    def ancestors(self, segment: SegmentId, part: int) -> Sequence[Ancestor]:
        if segment in self._unmerged:
            return ()
        found = self._ancestries.get(segment) or self.ancestry(segment)
        if found is None:
            self._keep(self._unmerged, segment, None, UNMERGED_LIMIT)
            return ()
        return self._keep(self._ancestries, segment, found, OPEN_ANCESTRIES).of(part)

    def ancestry(self, segment: SegmentId) -> Ancestry | None:
        """None of a segment that was not merged, or of which it cannot be read: then the origin is asked, as ever."""
        name = segment.hex()
        names = ("ancestors", name[:2], name)
        try:
            self._verified.sealed(partial(Ancestry, segment), *names)
            return Ancestry(segment, self._verified.again(*names))
        except (NotFound, CatalogCorrupt, StoreFailed):
            return None

    def report(self, commit: CommitId) -> CommitReport:
        return self.record(commit).report()

    def image_path(self, commit: CommitId) -> str:
        """Blocking, the first time: reads the image."""
        record = self.record(commit)
        return self._verified.path(record.image_sha256, record.image_bytes, "images", f"{commit}.erofs")

    def devices_path(self, commit: CommitId) -> str:
        self.device_table(commit)
        return self.path("devices", commit)

    def device_table(self, commit: CommitId) -> Sequence[Device]:
        """Raises NotFound, CatalogCorrupt."""
        found = self._verified.sealed(devices.decode, "devices", commit)
        if not found or found[0].identity != devices.identity(commit, 0):
            raise self._verified.damaged("devices", commit)
        return found

    def headers(self, segment: SegmentId, part: int) -> Mapping[str, str] | None:
        for one in (Ancestor(segment, part, 0), *self.ancestors(segment, part)):
            with self._lock, suppress(OSError):  # what cannot be read is unknown, and asked again
                records = self._headers.get(one.segment)
                if records or os.path.exists(self._headers_path(one.segment) + ".index"):
                    found = self._records(one.segment).get(one.part)
                    if found is not None:
                        return found
        return None

    def record_headers(self, segment: SegmentId, part: int, headers: Mapping[str, str]) -> None:
        with self._lock, suppress(OSError):  # no read may fail because a full disk forgets its headers
            self._records(segment).put(part, headers)

    def writer(self) -> CatalogWriter:
        """Raises SyncConflict, StoreFull, StoreFailed."""
        return CatalogWriter(self.root, self._at)

    def path(self, *names: str) -> str:
        return os.path.join(self.root, *names)

    def commit_ids(self) -> Sequence[CommitId]:
        """Every commit of which there is a record, or a device table or an image at least."""
        names = (name for folder in ("commits", "devices", "images") for name in os.listdir(self.path(folder)))
        return sorted({CommitId(name.partition(".")[0]) for name in names})

    def record(self, commit: CommitId) -> commits.Record:
        """Raises NotFound, CatalogCorrupt."""
        return self._verified.sealed(partial(commits.decode, commit), "commits", f"{commit}.json")

    def leaf_commit(self, record: commits.Record) -> commits.LeafCommit:
        """The commit of a record, which may not be written yet. Commits share the leaves they have in common."""
        return commits.LeafCommit(record, [self._leaf(leaf.id) for leaf in record.leaves])

    def forget(self, folder: str, *names: str) -> None:
        """The file is about to be deleted; who holds what was read of it may go on reading. `names`: its path there."""
        self._verified.forget(folder, *names)
        name = names[-1].partition(".")[0]
        with self._lock, suppress(ValueError):  # a name that is not ours
            if folder == "commits":
                self._commits.pop(CommitId(name), None)
            segment = SegmentId(bytes.fromhex(name))
            if folder == "parts":
                self._small.pop(segment, None)
                self._mapped.pop(segment, None)
            elif folder == "ancestors":
                self._ancestries.pop(segment, None)
                self._unmerged.pop(segment, None)
            elif folder == "headers" and (records := self._headers.pop(segment, None)):
                records.close()

    def _leaf(self, name: str) -> Leaf:
        found = self._leaves.get(name)
        if found is None:
            found = self._leaves[name] = Leaf(name, self._verified.load("leaves", name))
        return found

    def _records(self, segment: SegmentId) -> HeaderRecords:
        found = self._headers.get(segment)
        if found is None:
            path = self._headers_path(segment)
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            found = self._headers[segment] = HeaderRecords(path)
            if len(self._headers) > OPEN_HEADERS:
                self._headers.pop(next(iter(self._headers))).close()
        return found

    def _headers_path(self, segment: SegmentId) -> str:
        return self.path("headers", segment.hex()[:2], segment.hex())

    def _keep(self, cache: dict[K, T], name: K, made: T, limit: int) -> T:
        with self._lock:
            cache[name] = made
            if len(cache) > limit:
                del cache[next(iter(cache))]
        return made
