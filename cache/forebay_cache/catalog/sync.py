"""A sync: what the sources hold now, as a commit. The walk is `run_sync`.

Killed at any moment it does no harm: every file but the record is named by its content, and a commit exists only when its
record does, which is written last. Ids are hashes, so two syncs that race from one parent are harmless. What the origin
changes meanwhile is not noticed here: the commit names what was listed, and reading a part that went says so.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing, closing

from forebay_cache.catalog.base import Entry
from forebay_cache.catalog.checkpoint import open_checkpoint
from forebay_cache.catalog.commit import LeafCommit, SourceName
from forebay_cache.catalog.draft import CommitDraft
from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.catalog.packing import Packer, unchanged
from forebay_cache.catalog.sources import Listed, Mapping, listed
from forebay_cache.contract.admin import CommitReport
from forebay_cache.model.errors import OriginBadAnswer, OriginDenied, OriginMissing, OriginUnavailable, StoreFull
from forebay_cache.model.ids import CommitId
from forebay_cache.origin.base import OriginObject

Progress = Callable[[str, int], None]
"""Told (phase, objects listed), now and then."""

_REASONS: Sequence[tuple[type[BaseException], str]] = (
    (OriginDenied, "OriginDenied"),
    (OriginMissing, "OriginMissing"),
    (OriginUnavailable, "OriginUnavailable"),  # throttled too
    (OriginBadAnswer, "OriginUnavailable"),
    (StoreFull, "CatalogFull"),
)


def reason(error: BaseException) -> str:
    """The stable word for why a sync failed (contract.admin.SyncReport)."""
    return next((word for kind, word in _REASONS if isinstance(error, kind)), "Failed")


async def run_sync(
    files: CatalogFiles, mappings: Sequence[Mapping], parent: CommitId | None, now_ms: int, progress: Progress
) -> CommitReport:
    """The commit of what is there now; `parent`'s own report where nothing changed, and then nothing was written.

    Raises OriginError (which source cannot be listed), NotFound (the parent is not here), StoreFull, StoreFailed,
    SyncConflict, BadInput; `reason` has the word for each.
    """
    before = Before(files, files.commit(parent) if parent else None, mappings)
    sources = [source_name(mapping) for mapping in mappings]
    with (
        closing(files.writer()) as writer,
        closing(open_checkpoint(files.path("checkpoints"), [str(one) for one in sources], now_ms)) as checkpoint,
    ):
        draft = CommitDraft(files, writer, tuple(sources), {one.origin.identity: one.place for one in mappings})
        packer = Packer(writer.put_parts, draft.add)
        count = 0
        async with aclosing(listed(mappings, checkpoint)) as found:
            async for one in found:
                take(one, before, packer)
                count += len(one.rows)
                progress("Listing", count)
                if writer.full:
                    await asyncio.to_thread(writer.settle)
        packer.close()
        progress("Writing", count)
        report = await asyncio.to_thread(draft.finish, packer.sizes, parent, now_ms)
        checkpoint.discard()
        return report


def take(found: Listed, before: "Before", packer: Packer) -> None:
    place = found.mapping.place
    for path, item in found.rows:
        entry = before.kept(path, item, found.mapping)
        if entry:
            packer.keep(entry)
        else:
            packer.add(path, item, place)


def source_name(mapping: Mapping) -> SourceName:
    path, prefix = (text.decode(errors="backslashreplace") for text in (mapping.path, mapping.prefix))
    return SourceName(path, prefix, mapping.origin.identity)


class Before:
    """The parent's entries, walked beside the listing: both are sorted."""

    def __init__(self, files: CatalogFiles, parent: LeafCommit | None, mappings: Sequence[Mapping]) -> None:
        self._files = files
        self._entries: Iterator[Entry] = iter(parent) if parent else iter(())
        self._next = next(self._entries, None)
        sources = tuple(source_name(mapping) for mapping in mappings)
        self._sole = len(sources) == 1 and parent is not None and parent.record.sources == sources

    def kept(self, path: bytes, found: OriginObject, mapping: Mapping) -> Entry | None:
        """The parent's entry, if `found` is the same bytes in the same place. Paths must rise from call to call."""
        entry = self._next
        while entry and entry.key < path:
            entry = self._next = next(self._entries, None)
        if entry is None or entry.key != path or not unchanged(entry, found, strong=mapping.origin.strong):
            return None
        return entry if self._sole or not entry.size or self._comes_from(entry, found, mapping) else None

    def _comes_from(self, entry: Entry, found: OriginObject, mapping: Mapping) -> bool:
        """Sources may have been exchanged since, or overlap: equal bytes elsewhere are another part."""
        parts = self._files.parts(entry.extent.segment)
        return parts.origin == mapping.origin.identity and parts.at(entry.extent.offset).key == found.key
