"""A sync: what the sources hold now, as a commit. The walk is `run_sync`.

Killed at any moment it does no harm: every file but the record is named by its content, and a commit exists only when its
record does, which is written last. Ids are hashes, so two syncs that race from one parent are harmless.
"""

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from forebay_cache.catalog import commit as commits
from forebay_cache.catalog import devices
from forebay_cache.catalog.base import Entry
from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.catalog.image import ImageWriter
from forebay_cache.catalog.leaf import Draft
from forebay_cache.catalog.mountable import write_tree
from forebay_cache.catalog.packing import Packer, unchanged
from forebay_cache.catalog.sources import Mapping, listed
from forebay_cache.contract.admin import CommitReport
from forebay_cache.model.ids import BLOCK_SIZE, CHUNK_SIZE, CommitId

Progress = Callable[[str, int], None]
"""Told (phase, objects listed), now and then."""
TELL_EVERY = 5000


async def run_sync(
    files: CatalogFiles, mappings: Sequence[Mapping], parent: CommitId | None, now_ms: int, progress: Progress
) -> CommitReport:
    """The commit of what is there now; `parent`'s own report where nothing changed, and then nothing was written.

    Raises OriginError (which source cannot be listed), NotFound (the parent is not here), StoreError.
    """
    files.sweep()
    old = files.commit(parent) if parent else None
    draft = CommitDraft(files)
    packer = Packer(files.put_parts)
    before = Before(iter(old) if old else iter(()))
    strong = {mapping.origin.identity: mapping.origin.strong for mapping in mappings}
    count = 0
    async with aclosing(listed(mappings)) as found:
        async for one in found:
            entry = before.at(one.path)
            same = entry is not None and unchanged(entry, one.object, strong=strong[one.origin])
            draft.add(packer.keep(entry) if entry and same else packer.add(one))
            count += 1
            if count % TELL_EVERY == 0:
                progress("Listing", count)
                await asyncio.sleep(0)
    draft.add(packer.close())
    progress("Writing", count)
    return await asyncio.to_thread(draft.finish, parent, now_ms)


class Before:
    """The parent's entries, walked beside the listing: both are sorted."""

    def __init__(self, entries: Iterator[Entry]) -> None:
        self._entries = entries
        self._next = next(entries, None)

    def at(self, path: bytes) -> Entry | None:
        """The parent's entry of this path. Paths must rise from call to call."""
        while self._next and self._next.key < path:
            self._next = next(self._entries, None)
        return self._next if self._next and self._next.key == path else None


@dataclass(slots=True)
class CommitDraft:
    """A commit being written: leaves as they fill, then devices, image, record."""

    files: CatalogFiles
    count: int = 0
    size: int = 0
    _leaf: Draft = field(default_factory=Draft)
    _names: list[commits.LeafName] = field(default_factory=list)

    def add(self, entries: Iterator[Entry]) -> None:
        for entry in entries:
            self._leaf.add(entry)
            self.count += 1
            self.size += entry.size
            if self._leaf.cut_behind(entry.key):
                self._close_leaf()

    def finish(self, parent: CommitId | None, now_ms: int) -> CommitReport:
        """Blocking: seconds for a million files."""
        if self._leaf.count:
            self._close_leaf()
        commit = commits.commit_id([name.id for name in self._names])
        if os.path.exists(self.files.path("commits", f"{commit}.json")):
            return self.files.report(commit)
        record = commits.Record(tuple(self._names), parent, now_ms, self.count, self.size, 0, 0, 0, 0, ())
        record = self._image(record, now_ms // 1000)
        self.files.put(commits.encode(record), "commits", f"{commit}.json")
        return record.report()

    def _close_leaf(self) -> None:
        name, data = self._leaf.encode()
        self.files.put(data, "leaves", name)
        self._names.append(commits.LeafName(name, self._leaf.first.hex()))
        self._leaf = Draft()

    def _image(self, record: commits.Record, built: int) -> commits.Record:
        """Writes device table and image -> the record with what only they know."""
        commit = self.files.leaf_commit(record)
        sizes = {segment: self.files.parts(segment).size for segment in commit.segments()}
        planned = devices.plan(record.id, sizes)
        self.files.put(devices.encode(record.id, planned), "devices", record.id)
        places = {p.segment: (device.number + 1, p.offset) for device in planned for p in device.placed}
        aside = self.files.aside()
        fd = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            writer = ImageWriter(fd, [device.size // BLOCK_SIZE for device in planned], built)
            left_out = write_tree(writer, commit, places)
            image_bytes = writer.close()
        finally:
            os.close(fd)
        self.files.settle(aside, self.files.path("images", f"{record.id}.erofs"))
        return replace(
            record,
            segments=len(sizes),
            chunks=sum(-(-size // CHUNK_SIZE) for size in sizes.values()),
            image_bytes=image_bytes,
            unmountable=left_out.count + writer.dropped,
            unmountable_first=tuple(left_out.first),
        )
