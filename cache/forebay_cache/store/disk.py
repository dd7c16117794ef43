"""Chunks on local disk, one regular file a chunk. README.md beside this file has the format and the rules by number."""

import os
import threading
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from contextlib import closing, suppress

from forebay_cache.model.errors import ChunkCorrupt, ConfigError
from forebay_cache.model.ids import BLOCK_SIZE, ChunkId, MemberId, SegmentId
from forebay_cache.store.audit import audit
from forebay_cache.store.base import Payer, Problem, Scrubbed, StoreStats, Usage
from forebay_cache.store.edge import Hook, passed, store_error
from forebay_cache.store.fill import DiskFill, create
from forebay_cache.store.handles import Handle, HandleLease, Handles
from forebay_cache.store.identity import Claim, Identity, lock_store, read, settle, write
from forebay_cache.store.layout import (
    EXTRA_BLOCKS,
    FOOTER_AT,
    FOOTER_SIZE,
    SUMS_AT,
    Footer,
    blocks_of,
    check_length,
    parse_footer,
)
from forebay_cache.store.ledger import COMPLETE, FILLING, Ledger, Limits
from forebay_cache.store.policies.rules import Rules
from forebay_cache.store.presence import Presence, has, overlaps
from forebay_cache.store.recover import recover
from forebay_cache.store.room import Room
from forebay_cache.store.scrub import scrub
from forebay_cache.store.shelf import Shelf, disk_blocks, opened, verify
from forebay_cache.store.sums import good_bytes

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
        self._room = Room(shelf)
        self._lock_fd = lock_fd

    @classmethod
    def open(cls, path: str, limits: Limits, *, cluster_uid: str, boot_id: str, at: Hook = passed) -> "DiskStore":
        """Opens the store at `path`, made if there is none. Blocking: some 10 us a chunk.

        Raises ConfigError (another cluster's, another format), StoreFailed (open elsewhere, disk error), StoreFull.
        """
        try:
            os.makedirs(path, mode=0o700, exist_ok=True)
            lock_fd = lock_store(path)
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
            if handle.gone and overlaps(handle.gone, *blocks_of(start, stop)):
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
                self._room.quarantine(handle)
            raise ChunkCorrupt(f"chunk {handle.chunk} in {self._shelf.path} does not match its checksums; quarantined")

    def verified(self, chunk: ChunkId, start: int, stop: int) -> bytes | None:
        lease = self.lease(chunk, start, stop)
        if lease is None:
            return None
        with closing(lease):
            first, last = blocks_of(start, stop)
            with suppress(OSError):  # an unreadable block is a damaged one
                data = good_bytes(lease.fd, first, last)
                if data is not None:
                    return data[start - first * BLOCK_SIZE : stop - first * BLOCK_SIZE]
            self._condemn(chunk, lease.fd)
        raise ChunkCorrupt(f"chunk {chunk} in {self._shelf.path} does not match its checksums; it is filled anew")

    def _condemn(self, chunk: ChunkId, fd: int) -> None:
        """Takes a chunk out of use that turned out to be bad after it was verified, or while it is partial."""
        with self._shelf.changing:
            with self._lock:
                handle, row = self._handles.get(chunk), self._ledger.find(chunk)
                state = self._ledger.state(row) if row >= 0 else FILLING
            if state & FILLING or handle is None or handle.fd != fd:
                return  # gone, another by now, or somebody's who writes to it
            if state & COMPLETE:
                self._room.quarantine(handle)
            else:
                self._room.evict(row)

    def touch(self, chunk: ChunkId, size: int) -> None:
        with self._lock:
            self._ledger.touch(chunk, size)

    # filling

    def admits(self, chunk: ChunkId, size: int, length: int) -> bool:
        with self._lock:
            return self._ledger.admits(chunk, size / length, length // BLOCK_SIZE + EXTRA_BLOCKS)

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
                return self._of_complete(row, chunk, length)
            row = -1
        fd = self._reopen(row, chunk, length) if row >= 0 else -1
        if fd < 0:
            return self._begin(chunk, length)
        try:
            lacking = length // BLOCK_SIZE + EXTRA_BLOCKS - self._ledger.blocks(row)
            self._room.make(lacking, self._ledger.group(chunk, row), keep=row)
        except BaseException:
            os.close(fd)
            raise
        return self._fill(row, fd, length)

    def _begin(self, chunk: ChunkId, length: int) -> DiskFill:
        self._room.make(length // BLOCK_SIZE + EXTRA_BLOCKS, self._ledger.group(chunk, -1))
        slot = self._room.claim_slot()
        try:
            fd = create(self._shelf, Footer(chunk, length, slot, self._shelf.boots))
        except BaseException:
            with self._lock:
                self._shelf.presence.release(slot)
            raise
        with self._lock:
            row = self._ledger.add(chunk, FILLING, slot, disk_blocks(os.fstat(fd)))
        return self._fill(row, fd, length)

    def _of_complete(self, row: int, chunk: ChunkId, length: int) -> DiskFill:
        """Of what it lacks: parts that were gone may have come back."""
        with self._lock:
            handle = opened(self._shelf, chunk)
            gone = handle.gone if handle else b""
        if not gone:
            return self._fill(row, -1, length)
        # no room is made: most such fills bring nothing
        return self._fill(row, os.open(self._shelf.complete_path(chunk), os.O_RDWR | os.O_CLOEXEC), length, gone)

    def _fill(self, row: int, fd: int, length: int, gone: bytes = b"") -> DiskFill:
        with self._lock:
            self._ledger.set_state(row, self._ledger.state(row) | FILLING)
            return DiskFill(self._shelf, row, fd, length, gone)

    def _is_good(self, chunk: ChunkId) -> bool:
        """Whether a chunk that counts as complete is here and right; else it no longer counts."""
        with self._lock:
            handle = opened(self._shelf, chunk)
            lease = self._handles.lease(handle) if handle is not None else None
        if handle is None or lease is None:
            self._room.forget(self._ledger.find(chunk))
            return False
        try:
            good = verify(self._shelf, handle, 0, handle.length)
            if not good:
                self._room.quarantine(handle)
        finally:
            lease.close()
        return good

    def _reopen(self, row: int, chunk: ChunkId, length: int) -> int:
        """The descriptor of a partial chunk; -1: its file is not usable, and is gone now."""
        try:
            fd = os.open(self._shelf.partial_path(chunk), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            self._room.forget(row)
            return -1
        footer = parse_footer(os.pread(fd, FOOTER_SIZE, FOOTER_AT))
        if footer is not None and footer.length == length:
            return fd
        os.close(fd)
        if footer is not None:
            raise ValueError(f"chunk {chunk} has {footer.length} bytes, not {length}")
        self._room.evict(row)
        return -1

    # making room

    def evict(self, chunk: ChunkId) -> bool:
        try:
            with self._shelf.changing:
                row = self._ledger.find(chunk)
                if row < 0 or self._ledger.state(row) & FILLING:
                    return False
                self._room.evict(row)
                return True
        except OSError as exc:
            raise store_error(exc, f"evicting chunk {chunk}") from exc

    def sweep(self, after: int) -> int:
        try:
            with self._shelf.changing:
                if after < 0:
                    self._room.shed()
                return self._room.expire(max(0, after))
        except OSError as exc:
            raise store_error(exc, "making room") from exc

    # accounts

    def govern(self, rules: Mapping[str, Rules], payer: Callable[[SegmentId], Payer]) -> Collection[str]:
        with self._lock:
            return self._ledger.charging.govern(rules, payer)

    def recharge(self, after: int) -> int:
        with self._lock:
            return self._ledger.recharge(max(0, after))

    def charged(self) -> Mapping[str, Usage]:
        with self._lock:
            found = self._ledger.charging.usage()
        return {uid: Usage(chunks, blocks * BLOCK_SIZE) for uid, (chunks, blocks) in found.items()}

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
                evicted_chunks=self._room.evicted_chunks,
                evicted_bytes=self._room.evicted_blocks * BLOCK_SIZE,
                quarantined=self._room.quarantined,
            )

    def scrub(self, after: int) -> Scrubbed | None:
        try:
            return scrub(self._shelf, self._room, after)
        except OSError as exc:
            raise store_error(exc, "reading back what is stored") from exc

    def check(self, *, verify: bool = True) -> list[Problem]:
        with self._shelf.changing:
            return audit(self._shelf, verify=verify)


def _identities(path: str, limits: Limits, cluster_uid: str, boot_id: str) -> tuple[Identity | None, Identity]:
    old = read(path)
    if old is None and os.path.isdir(os.path.join(path, "chunks")):
        raise ConfigError(f"store_path: {path} holds chunks but no identity; give an empty directory, or delete it")
    claim = Claim(cluster_uid, limits.capacity_bytes, boot_id)
    return old, settle(old, claim, uuid.uuid4)


def _shelf(path: str, limits: Limits, boots: int, at: Hook, *, fresh: bool) -> Shelf:
    lock, ledger = threading.Lock(), Ledger(limits, time.monotonic)
    return Shelf(
        path=path,
        boots=boots,
        ledger=ledger,
        presence=Presence.open(os.path.join(path, "presence"), limits.slots, at, fresh=fresh),
        handles=Handles(limits.open_files, lock, ledger.free, SUMS_AT),
        lock=lock,
        at=at,
    )


def _recover(shelf: Shelf, old: Identity | None, new: Identity) -> None:
    """Counts what is there, and makes the identity durable before a chunk can be stamped with a boot it does not know."""
    if os.path.isdir(shelf.chunks):
        recover(shelf)
    if old != new:
        write(shelf.path, new, shelf.at)
    for folder in (shelf.chunks, shelf.quarantine_folder):
        os.makedirs(folder, mode=0o700, exist_ok=True)
    shelf.ledger.used += sum(disk_blocks(entry.stat()) for entry in os.scandir(shelf.quarantine_folder))
