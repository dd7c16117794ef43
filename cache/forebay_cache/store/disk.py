"""Chunks on local disk, one regular file a chunk: opens a store, makes room, evicts. README.md has the rules by number."""

import os
import threading
import uuid
from collections.abc import Collection
from contextlib import suppress
from itertools import islice

from forebay_cache.model.errors import ChunkCorrupt, ConfigError, StoreFull
from forebay_cache.model.ids import BLOCK_SIZE, ChunkId, MemberId, SegmentId
from forebay_cache.store import identity as identities
from forebay_cache.store.audit import audit
from forebay_cache.store.base import Problem, StoreStats, Usage
from forebay_cache.store.edge import Hook, Point, passed, store_error
from forebay_cache.store.fill import DiskFill, create
from forebay_cache.store.handles import Handle, HandleLease, Handles
from forebay_cache.store.layout import (
    EXTRA_BLOCKS,
    FOOTER_AT,
    FOOTER_SIZE,
    Footer,
    blocks_of,
    check_length,
    parse_footer,
)
from forebay_cache.store.ledger import COMPLETE, FILLING, Ledger, Limits
from forebay_cache.store.presence import Presence, has
from forebay_cache.store.recover import disk_blocks, recover
from forebay_cache.store.shelf import Shelf, opened, verify

QUARANTINE_LIMIT = 4
"""Corrupt files kept for a person to look at; the oldest goes when another comes."""
_VICTIMS = 16
"""Victims chosen at once: few, because what is read meanwhile should stay."""
_ROWS = 4096
"""Rows counted under the lock at once: some 2 ms."""


class DiskStore:
    """See `Store`. Thread-safe. One process has a store open; `open` is the way to get one."""

    def __init__(self, shelf: Shelf, member: MemberId, lock_fd: int) -> None:
        self.member = member
        self._shelf = shelf
        self._lock = shelf.lock
        self._ledger = shelf.ledger
        self._handles = shelf.handles
        self._lock_fd = lock_fd
        self._evicted_chunks = self._evicted_blocks = self._quarantined = 0

    @classmethod
    def open(cls, path: str, limits: Limits, *, cluster_uid: str, boot_id: str, at: Hook = passed) -> "DiskStore":
        """Opens the store at `path`, made if there is none. Blocking: some 10 us a chunk.

        Raises ConfigError (another cluster's, another format), StoreFailed (open elsewhere, disk error), StoreFull.
        """
        try:
            os.makedirs(path, mode=0o700, exist_ok=True)
            lock_fd = identities.lock(path)
            try:
                old, new = _identities(path, limits, cluster_uid, boot_id)
                shelf = _shelf(path, limits, new.boots, at, fresh=old is None or old.boots != new.boots)
                _recover(shelf, old, new)
            except BaseException:
                os.close(lock_fd)
                raise
        except OSError as exc:
            raise store_error(exc, f"opening {path}") from exc
        return cls(shelf, new.member, lock_fd)

    def close(self) -> None:
        """Gives the store to the next opener. Fills must be closed; leases stay readable."""
        with self._lock:
            self._handles.close()
        fd, self._lock_fd = self._lock_fd, -1
        if fd >= 0:
            os.close(fd)

    # reading

    def lease(self, chunk: ChunkId, start: int, stop: int) -> HandleLease | None:
        with self._lock:
            handle = self._handles.get(chunk)
            if handle is not None and handle.bits is None and 0 <= start < stop <= handle.length:
                return self._handles.lease(handle)
        try:
            return self._checked_lease(chunk, start, stop)
        except OSError as exc:
            raise store_error(exc, f"opening chunk {chunk}") from exc

    def _checked_lease(self, chunk: ChunkId, start: int, stop: int) -> HandleLease | None:
        """A lease on a chunk that is not open yet, or partial, or not verified in this boot."""
        with self._lock:
            handle = opened(self._shelf, chunk)
            if handle is None:
                return None
            if handle.length and not 0 <= start < stop <= handle.length:
                raise ValueError(f"range [{start}, {stop}) is not within the {handle.length} bytes of chunk {chunk}")
            if handle.partial and handle.bits is not None and not has(handle.bits, *blocks_of(start, stop)):
                return None
            lease = self._handles.lease(handle)
        if handle.bits is None or handle.partial:
            return lease
        try:
            self._verify(handle, start, stop)
        except BaseException:
            lease.close()
            raise
        lease.whole = handle.bits is None
        return lease

    def _verify(self, handle: Handle, start: int, stop: int) -> None:
        if not verify(self._shelf, handle, start, stop):
            with self._shelf.changing:
                self._quarantine(handle)
            raise ChunkCorrupt(f"chunk {handle.chunk} in {self._shelf.path} does not match its checksums; quarantined")

    def touch(self, chunk: ChunkId) -> None:
        with self._lock:
            self._ledger.touch(chunk)

    # filling

    def has_room(self, length: int) -> bool:
        with self._lock:
            return self._ledger.has_room(length // BLOCK_SIZE + EXTRA_BLOCKS)

    def reserve(self, chunk: ChunkId, length: int) -> DiskFill:
        check_length(length)
        try:
            with self._shelf.changing:
                return self._reserve(chunk, length)
        except OSError as exc:
            raise store_error(exc, f"making room for chunk {chunk}") from exc

    def _reserve(self, chunk: ChunkId, length: int) -> DiskFill:
        row = self._ledger.find(chunk)
        if row >= 0 and self._ledger.state(row) & FILLING:
            raise RuntimeError(f"chunk {chunk} is being filled already")
        if row >= 0 and self._ledger.state(row) & COMPLETE:
            if self._is_good(chunk):
                return self._fill(row, -1, length)
            row = -1
        fd = self._reopen(row, chunk, length) if row >= 0 else -1
        if fd < 0:
            return self._begin(chunk, length)
        try:
            self._make_room(length // BLOCK_SIZE + EXTRA_BLOCKS - self._ledger.blocks(row), keep=row)
        except BaseException:
            os.close(fd)
            raise
        return self._fill(row, fd, length)

    def _begin(self, chunk: ChunkId, length: int) -> DiskFill:
        self._make_room(length // BLOCK_SIZE + EXTRA_BLOCKS, keep=-1)
        slot = self._claim_slot()
        try:
            fd = create(self._shelf, Footer(chunk, length, slot, self._shelf.boots))
        except BaseException:
            with self._lock:
                self._shelf.presence.release(slot)
            raise
        with self._lock:
            row = self._ledger.add(chunk, FILLING, slot, disk_blocks(os.fstat(fd)))
        return self._fill(row, fd, length)

    def _fill(self, row: int, fd: int, length: int) -> DiskFill:
        with self._lock:
            self._ledger.set_state(row, self._ledger.state(row) | FILLING)
            return DiskFill(self._shelf, row, fd, length)

    def _is_good(self, chunk: ChunkId) -> bool:
        """Whether a chunk that counts as complete is here and right; else it no longer counts."""
        with self._lock:
            handle = opened(self._shelf, chunk)
            lease = self._handles.lease(handle) if handle is not None else None
        if handle is None or lease is None:
            self._forget(self._ledger.find(chunk))
            return False
        try:
            good = verify(self._shelf, handle, 0, handle.length)
            if not good:
                self._quarantine(handle)
        finally:
            lease.close()
        return good

    def _reopen(self, row: int, chunk: ChunkId, length: int) -> int:
        """The descriptor of a partial chunk; -1: its file is not usable, and is gone now."""
        try:
            fd = os.open(self._shelf.partial_path(chunk), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            self._forget(row)
            return -1
        footer = parse_footer(os.pread(fd, FOOTER_SIZE, FOOTER_AT))
        if footer is not None and footer.length == length:
            return fd
        os.close(fd)
        if footer is not None:
            raise ValueError(f"chunk {chunk} has {footer.length} bytes, not {length}")
        self._evict(row)
        return -1

    # making room

    def evict(self, chunk: ChunkId) -> bool:
        try:
            with self._shelf.changing:
                row = self._ledger.find(chunk)
                if row < 0 or self._ledger.state(row) & FILLING:
                    return False
                self._evict(row)
                return True
        except OSError as exc:
            raise store_error(exc, f"evicting chunk {chunk}") from exc

    def _make_room(self, blocks: int, *, keep: int) -> None:
        """Evicts until `blocks` more fit, and some more while the store drains to its low watermark; never row `keep`."""
        with self._lock:
            goal = max(self._ledger.excess(blocks), self._ledger.shortage(blocks), self._disk_shortage(blocks))
        freed = 0
        while freed < goal and (rows := self._victims(keep)):
            for row in rows:
                if freed < goal:
                    freed += self._evict(row)
        with self._lock:
            if self._ledger.shortage(blocks) or (goal and self._disk_shortage(blocks)):
                raise StoreFull(
                    f"no room for {blocks * BLOCK_SIZE} bytes in {self._shelf.path}: {self._ledger.used * BLOCK_SIZE} of"
                    f" {self._ledger.capacity * BLOCK_SIZE} bytes used, and what is left is being read or filled"
                )

    def _victims(self, keep: int) -> list[int]:
        """The next to go; not what is leased, because that would free nothing now."""
        with self._lock:
            ledger, leased = self._ledger, self._handles.is_leased
            rows = (row for row in ledger.victims() if row != keep and not leased(ledger.chunk(row)))
            return list(islice(rows, _VICTIMS))

    def _disk_shortage(self, blocks: int) -> int:
        """Blocks the file system lacks, for this and for all that is promised: the disk may be smaller than our capacity."""
        disk = os.statvfs(self._shelf.path)
        free = disk.f_bavail * disk.f_frsize // BLOCK_SIZE
        return max(0, self._ledger.promised + blocks - free)

    def _claim_slot(self) -> int:
        """A presence slot, if need be of the partial chunk that should go first."""
        with self._lock:
            presence, ledger = self._shelf.presence, self._ledger
            partial = (row for row in ledger.victims() if not ledger.state(row) & COMPLETE)
            victim = -1 if presence.free else next(partial, -1)
        if victim >= 0:
            self._evict(victim)
        with self._lock:
            return presence.claim()

    def _evict(self, row: int) -> int:
        """Deletes a chunk. -> blocks that are free now, or when its last lease is closed."""
        chunk, shelf = self._ledger.chunk(row), self._shelf
        path = shelf.complete_path(chunk) if self._ledger.state(row) & COMPLETE else shelf.partial_path(chunk)
        shelf.at(Point.UNLINK)
        with suppress(FileNotFoundError):  # somebody deleted it for us: it must leave the index all the same
            os.unlink(path)
        shelf.at(Point.FORGET)
        blocks = self._forget(row)
        self._evicted_chunks += 1
        self._evicted_blocks += blocks
        return blocks

    def _forget(self, row: int) -> int:
        """A chunk whose file is gone leaves the account. -> its blocks."""
        with self._lock:
            chunk, blocks = self._take_out(row)
            self._handles.drop(chunk, blocks)
            return blocks

    def _take_out(self, row: int) -> tuple[ChunkId, int]:
        chunk = self._ledger.chunk(row)
        if not self._ledger.state(row) & COMPLETE:
            self._shelf.presence.release(self._ledger.slot(row))
        return chunk, self._ledger.remove(row)

    def _quarantine(self, handle: Handle) -> None:
        """Moves a corrupt chunk aside, unless that has happened already."""
        shelf = self._shelf
        with self._lock:
            row = self._ledger.find(handle.chunk)
            if row < 0 or self._handles.get(handle.chunk) is not handle:
                return
        source = shelf.complete_path(handle.chunk)
        self._clear_quarantine()
        shelf.at(Point.QUARANTINE)
        os.rename(source, os.path.join(shelf.quarantine, os.path.basename(source)))
        self._quarantined += 1
        with self._lock:
            chunk, _ = self._take_out(row)
            self._handles.drop(chunk, 0)  # its blocks count as used as long as it lies in quarantine

    def _clear_quarantine(self) -> None:
        """Makes a place free in quarantine: the oldest file there goes."""
        folder = self._shelf.quarantine
        files = sorted(os.scandir(folder), key=lambda entry: entry.stat().st_mtime_ns)
        for entry in files[: max(0, len(files) + 1 - QUARANTINE_LIMIT)]:
            blocks = disk_blocks(entry.stat())
            os.unlink(entry.path)
            with self._lock:
                self._ledger.free(blocks)

    # accounts

    def usage(self, segments: Collection[SegmentId]) -> Usage:
        wanted, chunks, blocks = frozenset(segments), 0, 0
        for row in range(0, self._ledger.row_limit, _ROWS):
            with self._lock:
                found = self._ledger.usage(row, row + _ROWS, wanted)
            chunks, blocks = chunks + found[0], blocks + found[1]
        return Usage(chunks, blocks * BLOCK_SIZE)

    def stats(self) -> StoreStats:
        with self._lock:
            ledger = self._ledger
            return StoreStats(
                capacity=ledger.capacity * BLOCK_SIZE,
                used=ledger.used * BLOCK_SIZE,
                chunks=ledger.completes,
                partial=len(ledger) - ledger.completes,
                evicted_chunks=self._evicted_chunks,
                evicted_bytes=self._evicted_blocks * BLOCK_SIZE,
                quarantined=self._quarantined,
            )

    def check(self, *, verify: bool = True) -> list[Problem]:
        with self._shelf.changing:
            return audit(self._shelf, verify=verify)


def _identities(
    path: str, limits: Limits, cluster_uid: str, boot_id: str
) -> tuple[identities.Identity | None, identities.Identity]:
    """Whose store it was, and whose it is from now on. Raises ConfigError."""
    old = identities.read(path)
    if old is None and os.path.isdir(os.path.join(path, "chunks")):
        raise ConfigError(f"store_path: {path} holds chunks but no identity; delete it or give an empty directory")
    new = identities.settle(
        old, cluster_uid=cluster_uid, capacity_bytes=limits.capacity_bytes, boot_id=boot_id, new_id=uuid.uuid4
    )
    return old, new


def _shelf(path: str, limits: Limits, boots: int, at: Hook, *, fresh: bool) -> Shelf:
    ledger, lock = Ledger(limits), threading.Lock()
    presence = Presence.open(os.path.join(path, "presence"), limits.slots, at, fresh=fresh)
    return Shelf(path, boots, ledger, presence, Handles(limits.open_files, lock, ledger.free), lock, at)


def _recover(shelf: Shelf, old: identities.Identity | None, new: identities.Identity) -> None:
    """Takes what a former process left. The identity is written before the folder of chunks exists, and before a chunk is
    stamped with a boot that it does not know."""
    if old is not None and os.path.isdir(shelf.chunks):
        recover(shelf.chunks, shelf.ledger, shelf.presence, shelf.boots, shelf.at)
    if old != new:
        identities.write(shelf.path, new, shelf.at)
    for folder in (shelf.chunks, shelf.quarantine):
        os.makedirs(folder, mode=0o700, exist_ok=True)
    shelf.ledger.used += sum(disk_blocks(entry.stat()) for entry in os.scandir(shelf.quarantine))
