"""A commit being written: leaves as they fill, segments merged where it is worth it, then devices and image, the record last."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from forebay_cache.catalog import commit as commits
from forebay_cache.catalog import devices
from forebay_cache.catalog.base import Device, Entry
from forebay_cache.catalog.edge import disk
from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.catalog.image import ImageWriter
from forebay_cache.catalog.leaf import Draft
from forebay_cache.catalog.merging import merge
from forebay_cache.catalog.mountable import LeftOut, write_tree
from forebay_cache.catalog.packing import Place
from forebay_cache.catalog.writer import CatalogWriter
from forebay_cache.contract.admin import CommitReport
from forebay_cache.model.errors import CatalogCorrupt, NotFound
from forebay_cache.model.ids import BLOCK_SIZE, CHUNK_SIZE, CommitId, SegmentId


@dataclass(slots=True)
class CommitDraft:
    """Entries come in order of key."""

    files: CatalogFiles
    writer: CatalogWriter
    sources: tuple[commits.SourceName, ...]
    places: Mapping[str, Place] = field(default_factory=dict)
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
        if found := self._known(record):
            return found
        self.writer.settle()
        commit = self.files.leaf_commit(record)
        known = self._sizes(commit, sizes, parent)
        if merged := merge(self.files, self.writer, commit, known, self.places):
            self.writer.settle()
            commit = self.files.leaf_commit(replace(record, leaves=merged.leaves))
            known = {**known, **merged.sizes}
        return self._known(commit.record) or self._written(commit, known)

    def _known(self, record: commits.Record) -> CommitReport | None:
        with suppress(NotFound, CatalogCorrupt):
            return self.files.report(record.id)
        return None

    def _written(self, commit: commits.LeafCommit, sizes: Mapping[SegmentId, int]) -> CommitReport:
        planned = devices.plan(commit.id, {segment: sizes[segment] for segment in commit.segments()})
        self.writer.put(devices.encode(commit.id, planned), "devices", commit.id)
        record = self._image(_counted(commit.record, planned), commit, planned)
        self.writer.settle()
        self.writer.replace(commits.encode(record), "commits", f"{record.id}.json")
        self.writer.settle()
        return record.report()

    def _close_leaf(self) -> None:
        name, data = self._leaf.encode()
        self.writer.put(data, "leaves", name)
        self._names.append(commits.LeafName(name, self._leaf.first.hex()))
        self._leaf = Draft()

    def _sizes(
        self, commit: commits.LeafCommit, new: Mapping[SegmentId, int], parent: CommitId | None
    ) -> Mapping[SegmentId, int]:
        """Of every segment: those the parent has are in its device table, so no old parts table is opened."""
        known = dict(new)
        if parent:
            with open(self.files.devices_path(parent), "rb") as file:
                known |= {p.segment: p.size for device in devices.decode(file.read()) for p in device.placed}
        return {segment: known[segment] for segment in commit.segments()}

    def _image(self, record: commits.Record, commit: commits.LeafCommit, planned: Sequence[Device]) -> commits.Record:
        """Writes the image -> the record with what only the image knows."""
        places = {p.segment: (device.number + 1, p.offset) for device in planned for p in device.placed}
        blocks = [device.size // BLOCK_SIZE for device in planned]
        aside, scratch = self.writer.aside(), self.writer.aside()
        with disk("writing an image"), open(aside, "xb") as file, open(scratch, "x+b") as spill:
            # the newest file's time, not this sync's: an image is a function of its commit
            image = ImageWriter(file.fileno(), spill.fileno(), blocks, max(0, self.newest_ms) // 1000)
            left_out = write_tree(image, commit.rows(), places)
            size = image.close()
        self.writer.stage(aside, "images", f"{record.id}.erofs")
        return _without(replace(record, image_bytes=size), left_out, image)


def _counted(record: commits.Record, planned: Sequence[Device]) -> commits.Record:
    sizes = [placed.size for device in planned for placed in device.placed]
    return replace(record, segments=len(sizes), chunks=sum(-(-size // CHUNK_SIZE) for size in sizes))


def _without(record: commits.Record, left_out: LeftOut, image: ImageWriter) -> commits.Record:
    """The record with the keys the image leaves out, those that a directory beat among them."""
    for key in image.dropped_first:
        left_out.name(key)
    return replace(record, unmountable=left_out.count + image.dropped, unmountable_first=tuple(left_out.first))
