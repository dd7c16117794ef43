"""A commit: an immutable version of a Dataset, named by its leaves; its record, its reading, and what differs between two."""

import hashlib
import heapq
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby

from forebay_cache.catalog.base import Entry, Page
from forebay_cache.catalog.leaf import Leaf, Row
from forebay_cache.catalog.listing import Shelf
from forebay_cache.contract.admin import CommitReport, DiffReport
from forebay_cache.model.errors import CatalogCorrupt
from forebay_cache.model.ids import LAYOUT_VERSION, CommitId, SegmentId


@dataclass(frozen=True, slots=True)
class LeafName:
    """A leaf as a record lists it: SHA-256 in hex, its first key in hex."""

    id: str
    first: str


@dataclass(frozen=True, slots=True)
class SourceName:
    """A source as it was listed: its path in the namespace, and the prefix of which origin."""

    path: str
    prefix: str
    origin: str


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept of a commit beside its leaves. Written last: a commit exists when its record does."""

    leaves: tuple[LeafName, ...]
    sources: tuple[SourceName, ...]
    parent: str | None
    created_ms: int
    files: int
    bytes: int
    segments: int = 0
    chunks: int = 0
    image_bytes: int = 0
    unmountable: int = 0
    unmountable_first: tuple[str, ...] = ()
    image_sha256: str = ""
    """Of the image's bytes; "" in a record of an older version."""

    @property
    def id(self) -> CommitId:
        return commit_id([leaf.id for leaf in self.leaves])

    def report(self) -> CommitReport:
        return CommitReport(
            id=self.id,
            parent=self.parent,
            created_ms=self.created_ms,
            files=self.files,
            bytes=self.bytes,
            segments=self.segments,
            chunks=self.chunks,
            image_bytes=self.image_bytes,
            unmountable=self.unmountable,
            unmountable_first=self.unmountable_first,
        )


def commit_id(leaves: Sequence[str]) -> CommitId:
    """Hash over the layout version and the leaf ids, in order."""
    return CommitId(hashlib.sha256("\n".join((f"forebay commit {LAYOUT_VERSION}", *leaves)).encode()).hexdigest())


def encode(record: Record) -> bytes:
    """A line of JSON, and a line with its SHA-256: the id covers the leaves alone."""
    body = json.dumps(asdict(record)).encode()
    return b"%s\n%s\n" % (body, hashlib.sha256(body).hexdigest().encode())


def decode(commit: CommitId, data: bytes) -> Record:
    """Raises CatalogCorrupt: cut short, changed, or another commit's. Fields of a newer version are ignored."""
    body, _, seal = data.partition(b"\n")
    if seal.strip() != hashlib.sha256(body).hexdigest().encode():
        raise CatalogCorrupt(f"the record of commit {commit} does not match its own checksum")
    try:
        found = json.loads(body)
        record = Record(**{name: found[name] for name in Record.__slots__ if name in found})
        leaves = tuple(LeafName(leaf["id"], leaf["first"]) for leaf in found["leaves"])
        sources = tuple(SourceName(one["path"], one["prefix"], one["origin"]) for one in found["sources"])
    except (TypeError, KeyError, ValueError) as exc:
        raise CatalogCorrupt(f"the record of commit {commit} cannot be read: {exc!r}") from exc
    record = replace(record, leaves=leaves, sources=sources, unmountable_first=tuple(record.unmountable_first))
    if record.id != commit:
        raise CatalogCorrupt(f"the record of commit {commit} is that of {record.id}")
    return record


class LeafCommit:
    """Implements Commit over mapped leaves."""

    def __init__(self, record: Record, leaves: Sequence[Leaf]) -> None:
        self.record = record
        self.id = record.id
        self.file_count = record.files
        self.total_bytes = record.bytes
        self.leaves = leaves
        self._shelf = Shelf([bytes.fromhex(leaf.first) for leaf in record.leaves], leaves)

    def find(self, key: bytes) -> Entry | None:
        return self._shelf.find(key)

    def page(self, prefix: bytes, delimiter: bytes, start_after: bytes, limit: int) -> Page:
        return self._shelf.page(prefix, delimiter, start_after, limit)

    def __iter__(self) -> Iterator[Entry]:
        return self._shelf.entries()

    def rows(self) -> Iterator[Row]:
        for leaf in self.leaves:
            yield from leaf.rows()

    def segments(self) -> Sequence[SegmentId]:
        return sorted({segment for leaf in self.leaves for segment in leaf.segments if any(segment)})

    def unshared(self, other: "LeafCommit") -> Iterator[Entry]:
        """Entries of the leaves that `other` does not have."""
        known = {leaf.id for leaf in other.record.leaves}
        for name, leaf in zip(self.record.leaves, self.leaves, strict=True):
            if name.id not in known:
                yield from leaf.entries()


def diff(old: LeafCommit, new: LeafCommit, *, limit: int) -> DiffReport:
    """What differs, leaf by leaf: those that both have are not looked at, because a key of one lies in no other leaf."""
    paths: dict[str, list[str]] = {"added": [], "removed": [], "changed": []}
    counts = dict.fromkeys(paths, 0)
    sides = heapq.merge(
        ((entry.key, 0, entry) for entry in old.unshared(new)),
        ((entry.key, 1, entry) for entry in new.unshared(old)),
        key=lambda row: row[:2],
    )
    for key, rows in groupby(sides, key=lambda row: row[0]):
        kind = _kind([(side, entry) for _, side, entry in rows])
        if kind:
            counts[kind] += 1
            if len(paths[kind]) < limit:
                paths[kind].append(key.decode(errors="replace"))
    return DiffReport(
        old=old.id,
        new=new.id,
        **counts,
        added_paths=tuple(paths["added"]),
        removed_paths=tuple(paths["removed"]),
        changed_paths=tuple(paths["changed"]),
    )


def _kind(rows: Sequence[tuple[int, Entry]]) -> str:
    """`rows`: the entries of one key, the old commit's (0) before the new one's (1)."""
    if len(rows) == 1:
        return "added" if rows[0][0] else "removed"
    before, after = rows[0][1], rows[1][1]
    if (before.size, before.mtime_ms, before.etag) != (after.size, after.mtime_ms, after.etag):
        return "changed"
    return "" if before.etag or before.extent == after.extent else "changed"  # a merge moves what is the same
