"""What a sync compares with: the parent's entries, as far as they can be read.

A damaged file must not fail every later sync. What it stood for is listed as if it were new, and so is packed, and later
fetched, once more: files of a lost leaf, files of a segment whose parts table is lost. Where the parent itself is lost, with its
record or with the whole disk, the newest other commit of the same sources takes its place, or none.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress

from forebay_cache.catalog.base import Entry
from forebay_cache.catalog.commit import LeafCommit, Record, SourceName
from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.catalog.leaf import Leaf
from forebay_cache.catalog.packing import unchanged
from forebay_cache.catalog.sources import Mapping
from forebay_cache.model.errors import CatalogCorrupt, NotFound
from forebay_cache.model.ids import CommitId, SegmentId
from forebay_cache.origin.base import OriginObject

log = logging.getLogger("forebay.sync")


def source_name(mapping: Mapping) -> SourceName:
    path, prefix = (text.decode(errors="backslashreplace") for text in (mapping.path, mapping.prefix))
    return SourceName(path, prefix, mapping.origin.identity)


def reference(files: CatalogFiles, parent: CommitId | None, sources: tuple[SourceName, ...]) -> LeafCommit | None:
    """The parent, or what is left of it, or what can stand in for it."""
    if parent is None:
        return None
    try:
        return _readable(files, files.record(parent))
    except (NotFound, CatalogCorrupt) as exc:
        found = _newest(files, sources)
        instead = found.id if found else "none: every file is packed anew"
        log.warning("parent not here", extra={"parent": parent, "instead": instead, "reason": str(exc)})
        return found


def _newest(files: CatalogFiles, sources: tuple[SourceName, ...]) -> LeafCommit | None:
    found = []
    for commit in files.commit_ids():
        with suppress(NotFound, CatalogCorrupt):
            record = files.record(commit)
            found += [record] if record.sources == sources else []
    newest = max(found, key=lambda record: record.created_ms, default=None)
    return _readable(files, newest) if newest else None


def _readable(files: CatalogFiles, record: Record) -> LeafCommit:
    """The commit, without the leaves that cannot be read. It tells its id all the same."""
    leaves: list[Leaf] = []
    for name in record.leaves:
        with suppress(NotFound, CatalogCorrupt):
            leaves += files.leaf_commit(Record((name,), (), None, 0, 0, 0)).leaves
    return LeafCommit(record, leaves)


class Before:
    """The entries of `commit`, walked beside the listing: both are sorted."""

    def __init__(self, files: CatalogFiles, commit: LeafCommit | None, sources: Sequence[SourceName]) -> None:
        self._files = files
        self._entries: Iterator[Entry] = (
            (entry for leaf in commit.leaves for entry in leaf.entries()) if commit else iter(())
        )
        self._next = next(self._entries, None)
        self._sole = len(sources) == 1 and commit is not None and commit.record.sources == tuple(sources)
        self._tables: dict[SegmentId, bool] = {}

    def kept(self, path: bytes, found: OriginObject, mapping: Mapping) -> Entry | None:
        """The old entry, if `found` is the same bytes in the same place. Paths must rise from call to call."""
        entry = self._next
        while entry and entry.key < path:
            entry = self._next = next(self._entries, None)
        if entry is None or entry.key != path or not unchanged(entry, found, strong=mapping.origin.strong):
            return None
        if not entry.size:
            return entry
        segment = entry.extent.segment
        here = self._tables.get(segment)
        if here is None:
            here = self._tables[segment] = self._has_table(segment)
        return entry if here and (self._sole or self._comes_from(entry, found, mapping)) else None

    def _has_table(self, segment: SegmentId) -> bool:
        name = segment.hex()
        return os.path.exists(self._files.path("parts", name[:2], name))

    def _comes_from(self, entry: Entry, found: OriginObject, mapping: Mapping) -> bool:
        """Sources may have been exchanged since, or overlap: equal bytes elsewhere are another part."""
        try:
            parts = self._files.parts(entry.extent.segment)
        except (NotFound, CatalogCorrupt):
            return False
        return parts.origin == mapping.origin.identity and parts.at(entry.extent.offset).key == found.key
