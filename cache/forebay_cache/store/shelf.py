"""The parts of one open store that leases, fills and eviction share, and its two locks.

`changing` orders what creates, renames and deletes files: blocking, only in threads. `lock` guards everything in memory, is
held for microseconds, and is all that a lease takes. Taken in this order, never the other way round.
"""

import os
import threading
from dataclasses import dataclass, field

from forebay_cache.model.ids import BLOCK_SIZE, ChunkId
from forebay_cache.store.edge import Hook, Point
from forebay_cache.store.handles import Handle, Handles
from forebay_cache.store.layout import (
    FOOTER_AT,
    FOOTER_SIZE,
    Footer,
    blocks_of,
    complete_name,
    parse_footer,
    partial_name,
)
from forebay_cache.store.ledger import COMPLETE, Ledger
from forebay_cache.store.presence import BITS_SIZE, Presence, has, mark, missing
from forebay_cache.store.sums import bad_blocks


@dataclass(frozen=True, slots=True)
class Shelf:
    path: str
    boots: int
    ledger: Ledger
    presence: Presence
    handles: Handles
    lock: threading.Lock
    at: Hook
    changing: threading.Lock = field(default_factory=threading.Lock)

    @property
    def chunks(self) -> str:
        return os.path.join(self.path, "chunks")

    @property
    def quarantine_folder(self) -> str:
        return os.path.join(self.path, "quarantine")

    def complete_path(self, chunk: ChunkId) -> str:
        return f"{self.path}/chunks/{complete_name(chunk)}"

    def partial_path(self, chunk: ChunkId) -> str:
        return f"{self.path}/chunks/{partial_name(chunk)}"


def disk_blocks(status: os.stat_result) -> int:
    """Blocks of 4 KiB a file uses on disk."""
    return -(-status.st_blocks * 512 // BLOCK_SIZE)


def opened(shelf: Shelf, chunk: ChunkId) -> Handle | None:
    """The handle of a chunk; None if it is not here. Under the lock. Raises OSError."""
    handle = shelf.handles.get(chunk)
    if handle is not None:
        return handle
    row = shelf.ledger.find(chunk)
    if row < 0:
        return None
    complete = bool(shelf.ledger.state(row) & COMPLETE)
    # a partial chunk may be changing its name at this moment, so the complete one is looked for second
    for path in (*([] if complete else [shelf.partial_path(chunk)]), shelf.complete_path(chunk)):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        handle = _handle(shelf, chunk, fd, complete=complete)
        shelf.handles.add(handle)
        return handle
    return None  # evicted at this moment


def verify(shelf: Shelf, handle: Handle, start: int, stop: int) -> bool:
    """Whether bytes [start, stop) of a complete chunk are right: checks the blocks this boot has not seen yet. Not under
    the lock: reads from the disk."""
    bits = handle.bits
    if bits is None:
        return True
    if not handle.length:
        return False
    fresh = missing(bits, *blocks_of(start, stop))
    for first, last in fresh:
        if not _is_good(handle, first, last):
            return False
        with shelf.lock:
            mark(bits, first, last)
    if fresh and has(bits, *blocks_of(0, handle.length)):
        _stamp(shelf, handle)
        handle.bits = bits if handle.gone else None
    return True


def _handle(shelf: Shelf, chunk: ChunkId, fd: int, *, complete: bool) -> Handle:
    try:
        footer = parse_footer(os.pread(fd, FOOTER_SIZE, FOOTER_AT))
    except OSError:
        footer = None  # an unreadable block is a damaged one
    if footer is None or footer.chunk != chunk:
        return Handle(chunk, fd, 0, bytearray(BITS_SIZE), partial=False)
    if not complete:
        return Handle(chunk, fd, footer.length, shelf.presence.bits(footer.slot), partial=True)
    handle = Handle(chunk, fd, footer.length, None, partial=False)
    if footer.boots != shelf.boots:
        handle.bits = bytearray(footer.gone or BITS_SIZE)
    elif footer.gone:
        handle.bits = bytearray(b"\xff" * BITS_SIZE)
    handle.gone = footer.gone
    return handle


def _is_good(handle: Handle, first: int, last: int) -> bool:
    try:
        return not bad_blocks(handle.fd, first, last)
    except OSError:
        return False  # an unreadable block is a damaged one


def _stamp(shelf: Shelf, handle: Handle) -> None:
    """Remembers on disk that this boot has verified the whole chunk."""
    try:
        shelf.at(Point.STAMP)
        # by descriptor: under its name there may be another file by now
        fd = os.open(f"/proc/self/fd/{handle.fd}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(fd, Footer(handle.chunk, handle.length, 0, shelf.boots, handle.gone).pack(), FOOTER_AT)
        finally:
            os.close(fd)
    except OSError:
        return  # a full or read-only disk does no harm: it is verified again after the next start
