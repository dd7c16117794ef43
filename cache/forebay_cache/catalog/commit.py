"""A commit: an immutable version of a Dataset, named by its leaves; its record, its reading, and what differs between two."""

import hashlib
import heapq
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby

from forebay_cache.catalog.base import Entry, Page
from forebay_cache.catalog.leaf import Leaf
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
class Record:
    """What is kept of a commit beside its leaves. Written last: a commit exists when its record does."""

    leaves: tuple[LeafName, ...]
    parent: str | None
    created_ms: int
    files: int
    bytes: int
    segments: int
    chunks: int
    image_bytes: int
    unmountable: int
    unmountable_first: tuple[str, ...]

    @property
    def id(self) -> CommitId:
        return commit_id([leaf.id for leaf in self.leaves])

    def report(self) -> CommitReport:
        fields = {name: value for name, value in asdict(self).items() if name != "leaves"}
        return CommitReport(id=self.id, **fields)


def commit_id(leaves: Sequence[str]) -> CommitId:
    """Hash over the layout version and the leaf ids, in order."""
    return CommitId(hashlib.sha256("\n".join((f"forebay commit {LAYOUT_VERSION}", *leaves)).encode()).hexdigest())


def encode(record: Record) -> bytes:
    return json.dumps(asdict(record), indent=1).encode()


def decode(commit: CommitId, data: bytes) -> Record:
    """Raises CatalogCorrupt: cut short, or another commit's."""
    try:
        fields = json.loads(data)
        names = tuple(LeafName(**leaf) for leaf in fields.pop("leaves"))
        first = tuple(fields.pop("unmountable_first"))
        record = Record(leaves=names, unmountable_first=first, **fields)
    except (ValueError, TypeError, KeyError) as exc:
        raise CatalogCorrupt(f"the record of commit {commit} cannot be read: {exc}") from exc
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
        self._leaves = leaves
        self._shelf = Shelf([bytes.fromhex(leaf.first) for leaf in record.leaves], leaves)

    def find(self, key: bytes) -> Entry | None:
        return self._shelf.find(key)

    def page(self, prefix: bytes, delimiter: bytes, start_after: bytes, limit: int) -> Page:
        return self._shelf.page(prefix, delimiter, start_after, limit)

    def __iter__(self) -> Iterator[Entry]:
        return self._shelf.entries()

    def segments(self) -> Sequence[SegmentId]:
        return sorted({segment for leaf in self._leaves for segment in leaf.segments if any(segment)})

    def unshared(self, other: "LeafCommit") -> Iterator[Entry]:
        """Entries of the leaves that `other` does not have."""
        known = {leaf.id for leaf in other.record.leaves}
        for name, leaf in zip(self.record.leaves, self._leaves, strict=True):
            if name.id not in known:
                yield from leaf.entries()


def diff(old: LeafCommit, new: LeafCommit, *, limit: int) -> DiffReport:
    """What differs, leaf by leaf: those that both have are not looked at."""
    paths: dict[str, list[str]] = {"added": [], "removed": [], "changed": []}
    counts = dict.fromkeys(paths, 0)
    sides = heapq.merge(
        ((entry.key, 0, entry) for entry in old.unshared(new)),
        ((entry.key, 1, entry) for entry in new.unshared(old)),
        key=lambda row: row[:2],
    )
    for key, rows in groupby(sides, key=lambda row: row[0]):
        kind = _kind([(side, entry) for _, side, entry in rows], key, old, new)
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


def _kind(rows: Sequence[tuple[int, Entry]], key: bytes, old: LeafCommit, new: LeafCommit) -> str:
    """A file whose neighbours changed may lie in a shared leaf on one side: look before saying it is gone."""
    before = rows[0][1] if rows[0][0] == 0 else old.find(key)
    after = rows[-1][1] if rows[-1][0] == 1 else new.find(key)
    if before is None or after is None:
        return "added" if before is None else "removed"
    return "" if (before.size, before.etag, before.extent) == (after.size, after.etag, after.extent) else "changed"
