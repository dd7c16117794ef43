"""A sync: what the sources hold now, as a commit. The walk is `run_sync`.

Killed at any moment it does no harm: every file but the record is named by its content, and a commit exists only when its
record does, which is written last. Ids are hashes, so two syncs that race from one parent are harmless. What the origin
changes meanwhile is not noticed here: the commit names what was listed, and reading a part that went says so.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing, closing, suppress

from forebay_cache.catalog.assembly import mend
from forebay_cache.catalog.before import Before, reference, source_name
from forebay_cache.catalog.checkpoint import open_checkpoint
from forebay_cache.catalog.draft import CommitDraft
from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.catalog.packing import Packer
from forebay_cache.catalog.sources import Listed, Mapping, listed
from forebay_cache.catalog.writer import CatalogWriter
from forebay_cache.contract.admin import CommitReport
from forebay_cache.model.errors import (
    CatalogCorrupt,
    NotFound,
    OriginBadAnswer,
    OriginDenied,
    OriginMissing,
    OriginUnavailable,
    StoreFull,
    SyncConflict,
)
from forebay_cache.model.ids import CommitId

CLEANING_TRIES, CLEANING_WAIT_S = 100, 0.2
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

    A parent that is not here is no obstacle: what can stand in for it does. Raises OriginError (which source cannot be
    listed), CatalogCorrupt (retry: it was set aside), StoreFull, StoreFailed, SyncConflict, BadInput; `reason` has the word
    for each.
    """
    sources = tuple(source_name(mapping) for mapping in mappings)
    with (
        closing(await _writer(files)) as writer,
        closing(open_checkpoint(files.path("checkpoints"), [str(one) for one in sources], now_ms)) as checkpoint,
    ):
        before = Before(files, reference(files, parent, sources), sources)
        draft = CommitDraft(files, writer, sources, {one.origin.identity: one.place for one in mappings})
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


async def mend_all(files: CatalogFiles, commits: Iterable[CommitId]) -> None:
    """Writes again what commits have lost of that which their leaves tell; what cannot be healed stays as it is."""
    with closing(await _writer(files)) as writer:
        for commit in commits:
            with suppress(NotFound, CatalogCorrupt):
                await asyncio.to_thread(mend, files, writer, commit)


async def _writer(files: CatalogFiles) -> CatalogWriter:
    """Waits for a cleaning to end. Raises SyncConflict where it does not."""
    for _ in range(CLEANING_TRIES):
        with suppress(SyncConflict):
            return files.writer()
        await asyncio.sleep(CLEANING_WAIT_S)
    return files.writer()


def take(found: Listed, before: "Before", packer: Packer) -> None:
    place = found.mapping.place
    for path, item in found.rows:
        entry = before.kept(path, item, found.mapping)
        if entry:
            packer.keep(entry)
        else:
            packer.add(path, item, place)
