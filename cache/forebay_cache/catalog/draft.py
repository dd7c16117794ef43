"""A commit being written: leaves as they fill, then segments merged where it is worth it, then all that follows from these."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from forebay_cache.catalog import commit as commits
from forebay_cache.catalog.assembly import assemble, known_sizes, mend
from forebay_cache.catalog.base import Entry
from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.catalog.leaf import Draft
from forebay_cache.catalog.merging import merge
from forebay_cache.catalog.packing import Place
from forebay_cache.catalog.writer import CatalogWriter
from forebay_cache.contract.admin import CommitReport
from forebay_cache.model.errors import CatalogCorrupt, NotFound
from forebay_cache.model.ids import CommitId, SegmentId


@dataclass(slots=True)
class CommitDraft:
    """Entries come in order of key."""

    files: CatalogFiles
    writer: CatalogWriter
    sources: tuple[commits.SourceName, ...]
    places: Mapping[str, Place]
    """Where new segments of each origin belong."""
    count: int = 0
    size: int = 0
    newest_ms: int = 0
    _leaf: Draft = field(default_factory=Draft)
    _names: list[commits.LeafName] = field(default_factory=list)

    def add(self, entry: Entry) -> None:
        self._leaf.add(entry)
        self.count += 1
        self.size += entry.size
        if entry.mtime_ms > self.newest_ms:  # noqa: PLR1730  a call costs three times as much
            self.newest_ms = entry.mtime_ms
        if self._leaf.cut_behind(entry.key):
            self._close_leaf()

    def finish(self, sizes: Mapping[SegmentId, int], parent: CommitId | None, now_ms: int) -> CommitReport:
        """`sizes`: bytes of the new segments. Blocking: seconds for a million files."""
        if self._leaf.count:
            self._close_leaf()
        record = commits.Record(tuple(self._names), self.sources, parent, now_ms, self.count, self.size)
        self.writer.settle()
        if found := self._known(record):
            return found
        commit = self.files.leaf_commit(record)
        known = known_sizes(self.files, commit, sizes, parent)
        if merged := merge(self.files, self.writer, commit, known, self.places):
            self.writer.settle()
            commit = self.files.leaf_commit(replace(record, leaves=merged.leaves))
            known = {**known, **merged.sizes}
        return self._known(commit.record) or assemble(self.writer, commit, known, self.newest_ms).report()

    def _known(self, record: commits.Record) -> CommitReport | None:
        """The report of a commit that is here already; what it may have lost of its files is written again."""
        with suppress(NotFound, CatalogCorrupt):
            self.files.record(record.id)
            mend(self.files, self.writer, record.id)
            return self.files.report(record.id)
        return None

    def _close_leaf(self) -> None:
        name, data = self._leaf.encode()
        self.writer.put(data, "leaves", name)
        self._names.append(commits.LeafName(name, self._leaf.first.hex()))
        self._leaf = Draft()
