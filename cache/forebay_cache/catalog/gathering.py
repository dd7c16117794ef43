"""A commit on its way here from other members. What comes is written aside and held against its name before it gets one, and
the record, which makes a commit of the files, gets its name last: whenever this ends, no commit lacks a file.

Writes as a sync does, so that no cleaning deletes what is counted on meanwhile. Blocking; one thread at a time.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress

from forebay_cache.catalog import commit as commits
from forebay_cache.catalog.ancestors import Ancestry
from forebay_cache.catalog.assembly import assemble, known_sizes
from forebay_cache.catalog.edge import disk
from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.catalog.giving import place_of
from forebay_cache.catalog.writer import CatalogWriter
from forebay_cache.model.errors import CatalogCorrupt, NotFound
from forebay_cache.model.ids import CommitId, SegmentId
from forebay_cache.transfer.base import FileName, Folder


def whole(files: CatalogFiles, commit: CommitId) -> bool:
    """Whether its record is here, and what that names under its name. Raises StoreFailed."""
    try:
        record = files.record(commit)
    except (NotFound, CatalogCorrupt):
        return False
    needed = [("images", f"{commit}.erofs"), ("devices", commit), *(("leaves", leaf.id) for leaf in record.leaves)]
    return all(os.path.exists(files.path(*names)) for names in needed)


def finish(files: CatalogFiles, commit: CommitId, record: str) -> commits.Record:
    """Makes device table and image of a commit whose other files are here, and at last its record durable, of which the bytes
    are in file `record`. 3 s of CPU a million files. Raises SyncConflict (retry) where the catalog is being cleaned; NotFound,
    CatalogCorrupt where a file was lost meanwhile; StoreFull, StoreFailed."""
    with disk("reading a commit's record"), open(record, "rb") as file:
        known = commits.decode(commit, file.read())
    with suppress(NotFound, CatalogCorrupt):
        files.device_table(commit)  # a damaged one goes aside
    with closing(files.writer()) as writer:
        found = files.leaf_commit(known)
        newest_ms = max((row[2] for row in found.rows()), default=0)
        return assemble(writer, found, known_sizes(files, found, {}, None), newest_ms)


class Incoming:
    """One file on its way; `path`: where it is written."""

    def __init__(self, name: FileName, path: str) -> None:
        self.name = name
        self.path = path
        self._hash = hashlib.sha256()
        with disk("beginning a file of another member"):
            self._file = open(path, "xb")  # noqa: SIM115  closed by `close`

    def write(self, data: memoryview) -> None:
        """Raises StoreFull, StoreFailed."""
        with disk("writing a file of another member"):
            self._file.write(data)
        self._hash.update(data)

    def check(self) -> None:
        """To be called when all has come. Raises CatalogCorrupt where it is not what its name says, StoreFull, StoreFailed."""
        with disk("writing a file of another member"):
            self._file.close()
        if self.name.folder in (Folder.LEAVES, Folder.PARTS):
            if self._hash.digest() != self.name.id:
                raise CatalogCorrupt(f"what came as {os.path.join(*place_of(self.name))} does not match its name")
        elif self.name.folder == Folder.ANCESTORS:
            Ancestry(SegmentId(self.name.id), self.content())
        else:
            commits.decode(CommitId(self.name.id.hex()), self.content())

    def content(self) -> bytes:
        with disk("reading a file of another member"), open(self.path, "rb") as file:
            return file.read()

    def close(self) -> None:
        """Drops it, where nobody took it."""
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            os.unlink(self.path)


class Gathering:
    """Ask `missing_leaves`, take them, ask `missing_segments`, take those, `settle`, then `finish` the commit while this is open;
    `record` is to be taken first, where it is None. Each call raises StoreFull, StoreFailed."""

    def __init__(self, files: CatalogFiles, commit: CommitId) -> None:
        self.commit = commit
        self.files = files
        self.record: commits.Record | None = None
        self.record_path = files.path("commits", f"{commit}.json")
        """Where the record's bytes are, for as long as this is open."""
        self._writer: CatalogWriter | None = None
        self._open: set[Incoming] = set()
        self._merged: list[FileName] = []

    def begin(self) -> None:
        """Raises SyncConflict (retry) where the catalog is being cleaned."""
        self._writer = self.files.writer()
        with suppress(NotFound, CatalogCorrupt):
            self.record = self.files.record(self.commit)

    def missing_leaves(self) -> Sequence[FileName]:
        return self._missing(FileName(Folder.LEAVES, bytes.fromhex(leaf.id)) for leaf in self._known.leaves)

    def missing_segments(self) -> Sequence[FileName]:
        """Their parts tables. Raises NotFound, CatalogCorrupt where a leaf was lost meanwhile."""
        self.settle()
        found = self.files.leaf_commit(self._known)
        return self._missing(FileName(Folder.PARTS, segment) for segment in found.segments())

    def incoming(self, name: FileName) -> Incoming:
        one = Incoming(name, self._writing.aside())
        self._open.add(one)
        return one

    def drop(self, one: Incoming) -> None:
        self._open.discard(one)
        one.close()

    def take(self, *checked: Incoming) -> None:
        """Files that were held against their names; they get those in this order."""
        for one in checked:
            self._open.discard(one)
            if one.name.folder == Folder.COMMITS:
                self.record = commits.decode(self.commit, one.content())
                self.record_path = one.path
                continue
            if one.name.folder == Folder.ANCESTORS:
                self._merged.append(one.name)
            self._writing.stage(one.path, *place_of(one.name))
        if self._writing.full:
            self.settle()

    def settle(self) -> None:
        """What was taken is durable under its name then, but the record."""
        self._writing.settle()
        while self._merged:
            self.files.forget(*place_of(self._merged.pop()))  # that it has none may be remembered

    def close(self) -> None:
        """Drops what was not settled. Idempotent."""
        while self._open:
            self._open.pop().close()
        if self._writer:
            self._writer.close()
            self._writer = None

    def _missing(self, names: Iterator[FileName]) -> Sequence[FileName]:
        return [name for name in dict.fromkeys(names) if not self._writing.keeps(*place_of(name))]

    @property
    def _writing(self) -> CatalogWriter:
        assert self._writer, "begin comes first"
        return self._writer

    @property
    def _known(self) -> commits.Record:
        assert self.record, "the record comes first"
        return self.record
