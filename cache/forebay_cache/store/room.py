"""Making room: evicts by policy until what is wanted fits, and moves corrupt chunks aside.

Every method is called with `Shelf.changing` held, not `Shelf.lock`. Eviction is unlink, never truncate (README, rule 5).
"""

import logging
import os
from contextlib import suppress

from forebay_cache.model.errors import StoreFull
from forebay_cache.model.ids import BLOCK_SIZE, ChunkId
from forebay_cache.store.edge import Point
from forebay_cache.store.handles import Handle
from forebay_cache.store.ledger import COMPLETE, SWEPT
from forebay_cache.store.shelf import Shelf, disk_blocks

log = logging.getLogger("forebay.store")
QUARANTINE_LIMIT = 4
"""Corrupt files kept for a person to look at; the oldest goes when another comes."""
_VICTIMS = 16
"""Victims chosen at once: few, because what is read meanwhile should stay."""


class Room:
    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._ledger = shelf.ledger
        self.evicted_chunks = 0
        self.evicted_blocks = 0
        self.quarantined = 0

    def make(self, blocks: int, asker: int, *, keep: int = -1) -> None:
        """Evicts until `blocks` more fit for a chunk of group `asker`, and some more while the store drains to its low
        watermark, as far as the policies give; never row `keep`. Raises StoreFull when they cannot fit."""
        with self._shelf.lock:
            ledger = self._ledger
            goal = max(ledger.excess(blocks), self._shortage(blocks), ledger.owed(asker, blocks))
        self._free(goal, asker, keep)
        with self._shelf.lock:
            if goal and self._shortage(blocks):
                raise StoreFull(
                    f"no room for {blocks * BLOCK_SIZE} bytes in {self._shelf.path}: {self._ledger.used * BLOCK_SIZE} of"
                    f" {self._ledger.capacity * BLOCK_SIZE} are used, and nothing that may go for it is not being read or filled"
                )

    def shed(self) -> None:
        """Evicts what is more than the capacity or the disk holds, whoever it belongs to, but nothing pinned."""
        with self._shelf.lock:
            goal = self._shortage(0)
        self._free(goal, None, -1)

    def expire(self, row: int) -> int:
        """Evicts what is past its TTL among the next rows. -> the row to go on with; -1: that was the last."""
        ledger, leased = self._ledger, self._shelf.handles.is_leased
        with self._shelf.lock:
            rows = [at for at in ledger.expired(row) if not leased(ledger.chunk(at))]
        for at in rows:
            self.evict(at)
        return row + SWEPT if row + SWEPT < ledger.row_limit else -1

    def claim_slot(self) -> int:
        """A presence slot; if need be, that of a partial chunk nobody has read for long. Raises StoreFull."""
        presence, ledger, leased = self._shelf.presence, self._ledger, self._shelf.handles.is_leased
        with self._shelf.lock:
            victim = -1 if presence.free else ledger.oldest_partial(lambda row: leased(ledger.chunk(row)))
        if victim >= 0:
            self.evict(victim)
        with self._shelf.lock:
            return presence.claim()

    def evict(self, row: int) -> int:
        """Deletes a chunk. -> its blocks: free now, or when its last lease is closed."""
        chunk, shelf = self._ledger.chunk(row), self._shelf
        complete = self._ledger.state(row) & COMPLETE
        shelf.at(Point.UNLINK)
        with suppress(FileNotFoundError):  # somebody did it for us; it must leave the index all the same
            os.unlink(shelf.complete_path(chunk) if complete else shelf.partial_path(chunk))
        # after the file, because a file that the index does not know would never go
        shelf.at(Point.FORGET)
        blocks = self.forget(row)
        self.evicted_chunks += 1
        self.evicted_blocks += blocks
        return blocks

    def forget(self, row: int) -> int:
        """A chunk whose file is gone leaves the account. -> its blocks."""
        with self._shelf.lock:
            chunk, blocks = self._take_out(row)
            self._shelf.handles.drop(chunk, blocks)
            return blocks

    def quarantine(self, handle: Handle) -> None:
        """Moves a corrupt chunk aside, unless that has been done already."""
        shelf = self._shelf
        with shelf.lock:
            row = self._ledger.find(handle.chunk)
            if row < 0 or shelf.handles.get(handle.chunk) is not handle:
                return
        source = shelf.complete_path(handle.chunk)
        target = os.path.join(shelf.quarantine_folder, os.path.basename(source))
        self._clear_quarantine(target)
        shelf.at(Point.QUARANTINE)
        os.rename(source, target)
        self.quarantined += 1
        log.warning("chunk quarantined", extra={"chunk": str(handle.chunk), "moved_to": target})
        with shelf.lock:
            chunk, _ = self._take_out(row)
            shelf.handles.drop(chunk, 0)  # its blocks count as used while it lies there

    def _free(self, goal: int, asker: int | None, keep: int) -> None:
        freed = 0
        while freed < goal and (rows := self._victims(goal - freed, asker, keep)):
            freed += sum(self.evict(row) for row in rows)

    def _victims(self, goal: int, asker: int | None, keep: int) -> list[int]:
        """The next to go, no more than have `goal` blocks; not what is leased, because that would free nothing now."""
        ledger, leased = self._ledger, self._shelf.handles.is_leased
        with self._shelf.lock:
            rows = ledger.victims(lambda row: row == keep or leased(ledger.chunk(row)), asker)
            chosen: list[int] = []
            while goal > 0 and len(chosen) < _VICTIMS and (row := next(rows, -1)) >= 0:
                chosen.append(row)
                goal -= ledger.blocks(row)
            return chosen

    def _shortage(self, blocks: int) -> int:
        """Blocks that are lacking: of our capacity, or of the file system, which may be smaller or used by others."""
        disk = os.statvfs(self._shelf.path)
        free = disk.f_bavail * disk.f_frsize // BLOCK_SIZE
        return max(0, self._ledger.shortage(blocks), self._ledger.promised + blocks - free)

    def _take_out(self, row: int) -> tuple[ChunkId, int]:
        chunk = self._ledger.chunk(row)
        if not self._ledger.state(row) & COMPLETE:
            self._shelf.presence.release(self._ledger.slot(row))
        return chunk, self._ledger.remove(row)

    def _clear_quarantine(self, target: str) -> None:
        """A place for `target`: deletes an earlier file of its name, and the oldest where there are too many."""
        entries = sorted(os.scandir(self._shelf.quarantine_folder), key=lambda entry: entry.stat().st_mtime_ns)
        spare = len(entries) - QUARANTINE_LIMIT + 1
        for number, entry in enumerate(entries):
            if number < spare or entry.path == target:
                blocks = disk_blocks(entry.stat())
                os.unlink(entry.path)
                with self._shelf.lock:
                    self._ledger.free(blocks)
