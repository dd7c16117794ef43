"""Catalog files on disk: immutable, named by their content, written aside and renamed when they are safe.

commits/<commit>.json   leaves/<sha>   parts/<xx>/<segment>   images/<commit>.erofs   devices/<commit>
headers/<xx>/<segment>.{sets,index}    tmp/ (what a killed writer left; emptied at the next sync)
"""

import hashlib
import mmap
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeVar

from forebay_cache.catalog import commit as commits
from forebay_cache.catalog.headers import HeaderRecords
from forebay_cache.catalog.leaf import Leaf
from forebay_cache.catalog.parts import PartsTable
from forebay_cache.contract.admin import CommitReport
from forebay_cache.model.errors import CatalogCorrupt, NotFound
from forebay_cache.model.ids import CommitId, SegmentId

K = TypeVar("K")
T = TypeVar("T")
OPEN_TABLES = 4096
OPEN_HEADERS = 512
OPEN_COMMITS = 16


class CatalogFiles:
    """Implements Catalog. Thread-safe; a file is verified against its name when it is first opened."""

    def __init__(self, root: str) -> None:
        self.root = root
        for folder in ("commits", "leaves", "parts", "images", "devices", "headers", "tmp"):
            os.makedirs(os.path.join(root, folder), mode=0o700, exist_ok=True)
        self._lock = threading.Lock()
        self._tables: dict[SegmentId, PartsTable] = {}
        self._headers: dict[SegmentId, HeaderRecords] = {}
        self._commits: dict[CommitId, commits.LeafCommit] = {}

    def commit(self, commit: CommitId) -> commits.LeafCommit:
        return self._kept(self._commits, commit, OPEN_COMMITS, self._open_commit)

    def parts(self, segment: SegmentId) -> PartsTable:
        return self._kept(self._tables, segment, OPEN_TABLES, self._open_parts)

    def report(self, commit: CommitId) -> CommitReport:
        return self._record(commit).report()

    def image_path(self, commit: CommitId) -> str:
        return self._present(self.path("images", f"{commit}.erofs"), f"image of commit {commit}")

    def devices_path(self, commit: CommitId) -> str:
        return self._present(self.path("devices", commit), f"device table of commit {commit}")

    def headers(self, segment: SegmentId, part: int) -> Mapping[str, str] | None:
        with self._lock:
            return self._records(segment).get(part)

    def record_headers(self, segment: SegmentId, part: int, headers: Mapping[str, str]) -> None:
        with self._lock:
            self._records(segment).put(part, headers)

    def path(self, *names: str) -> str:
        return os.path.join(self.root, *names)

    def put(self, data: bytes, *names: str) -> None:
        """Keeps one file: written aside, fsynced, renamed. One that is there already is left alone: names tell content."""
        path = self.path(*names)
        if not os.path.exists(path):
            aside = self.aside()
            with open(aside, "xb") as file:
                file.write(data)
            self.settle(aside, path)

    def put_parts(self, segment: SegmentId, table: bytes) -> None:
        self.put(table, "parts", segment.hex()[:2], segment.hex())

    def aside(self) -> str:
        """A new name in tmp/."""
        return self.path("tmp", os.urandom(8).hex())

    def settle(self, aside: str, path: str) -> None:
        """Makes a finished file visible: its bytes first, then its name, then the folder that holds the name."""
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        _fsync(aside)
        os.replace(aside, path)
        _fsync(os.path.dirname(path))

    def sweep(self) -> None:
        """Removes what killed writers left aside. Call when nothing else writes."""
        for name in os.listdir(self.path("tmp")):
            with suppress(FileNotFoundError):
                os.unlink(self.path("tmp", name))

    def leaf_commit(self, record: commits.Record) -> commits.LeafCommit:
        """The commit of a record, which may not be written yet."""
        leaves = [Leaf(name.id, self._mapped("leaves", name.id, sha=name.id)) for name in record.leaves]
        return commits.LeafCommit(record, leaves)

    def _open_commit(self, commit: CommitId) -> commits.LeafCommit:
        return self.leaf_commit(self._record(commit))

    def _record(self, commit: CommitId) -> commits.Record:
        path = self.path("commits", f"{commit}.json")
        try:
            with open(path, "rb") as file:
                return commits.decode(commit, file.read())
        except FileNotFoundError as exc:
            raise NotFound(f"commit {commit} is not in this member's catalog") from exc

    def _open_parts(self, segment: SegmentId) -> PartsTable:
        name = segment.hex()
        return PartsTable(segment, self._mapped("parts", name[:2], name, sha=name))

    def _records(self, segment: SegmentId) -> HeaderRecords:
        found = self._headers.get(segment)
        if found is None:
            count = len(self._tables.get(segment) or self._open_parts(segment))
            folder = self.path("headers", segment.hex()[:2])
            os.makedirs(folder, mode=0o700, exist_ok=True)
            found = self._headers[segment] = HeaderRecords(os.path.join(folder, segment.hex()), count)
            if len(self._headers) > OPEN_HEADERS:
                self._headers.pop(next(iter(self._headers))).close()
        return found

    def _mapped(self, *names: str, sha: str) -> mmap.mmap:
        try:
            with open(self.path(*names), "rb") as file:
                data = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        except FileNotFoundError as exc:
            raise NotFound(f"catalog file {os.path.join(*names)} is not here") from exc
        except ValueError as exc:
            raise CatalogCorrupt(f"catalog file {os.path.join(*names)} is empty") from exc
        if hashlib.sha256(data).hexdigest() != sha:
            raise CatalogCorrupt(f"catalog file {os.path.join(*names)} does not match its name")
        return data

    def _present(self, path: str, what: str) -> str:
        if not os.path.exists(path):
            raise NotFound(f"{what} is not in this member's catalog")
        return path

    def _kept(self, cache: dict[K, T], name: K, limit: int, make: Callable[[K], T]) -> T:
        found = cache.get(name)
        if found is None:
            found = make(name)
            with self._lock:
                cache[name] = found
                if len(cache) > limit:
                    del cache[next(iter(cache))]
        return found


def _fsync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
