"""Reads a chunk back from the disk itself and holds it against its checksums, so that decay is found before a reader finds
it. Past the page cache: what is cached there is right and says nothing of the disk, and what is not must push nothing out.
"""

import errno
import mmap
import os
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import BinaryIO

from forebay_cache.model.ids import BLOCK_SIZE, CHUNK_SIZE, ChunkId
from forebay_cache.store.base import Scrubbed
from forebay_cache.store.layout import FOOTER_AT, FOOTER_SIZE, SUM_SIZE, SUMS_AT, parse_footer
from forebay_cache.store.ledger import COMPLETE, FILLING
from forebay_cache.store.presence import overlaps
from forebay_cache.store.room import Room
from forebay_cache.store.shelf import Shelf, opened
from forebay_cache.store.sums import sums

_AT_ONCE = 1 << 20
_NO_DIRECT = frozenset({errno.EINVAL, errno.EOPNOTSUPP})
"""What a file system says that reads only through the page cache."""


def scrub(shelf: Shelf, room: Room, after: int) -> Scrubbed | None:
    """See `Store.scrub`. Raises OSError where the disk cannot even be asked."""
    row = after
    while True:
        with shelf.lock:
            row = shelf.ledger.complete_after(row)
            chunk = shelf.ledger.chunk(row) if row >= 0 else None
        if chunk is None:
            return None
        size = _read(shelf.complete_path(chunk), partial(_good_size, chunk))
        if size is not None:
            return Scrubbed(row, chunk, size, good=size > 0 or not _condemn(shelf, room, chunk))


def _read(path: str, check: Callable[[BinaryIO], int]) -> int | None:
    """What `check` says of the file, read past the page cache where its file system can; None: it is gone."""
    for flags in (os.O_DIRECT, 0):
        try:
            with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags), "rb", buffering=0) as file:
                return check(file)
        except FileNotFoundError:
            return None  # evicted at this moment
        except OSError as exc:
            if exc.errno not in _NO_DIRECT:
                return 0  # an unreadable block is a damaged one
    return 0


def _good_size(chunk: ChunkId, file: BinaryIO) -> int:
    """Bytes of the chunk, if every one of them is right; else 0."""
    with closing(mmap.mmap(-1, _AT_ONCE)) as buffer:  # direct reads want memory that begins with a page
        tail = _pread(file, buffer, SUMS_AT, FOOTER_AT - SUMS_AT + BLOCK_SIZE)
        want = bytes(tail[: FOOTER_AT - SUMS_AT])
        footer = parse_footer(bytes(tail[FOOTER_AT - SUMS_AT :][:FOOTER_SIZE]))
        if footer is None or footer.chunk != chunk or not 0 < footer.length <= CHUNK_SIZE:
            return 0
        for at in range(0, footer.length, _AT_ONCE):
            have = sums(_pread(file, buffer, at, min(_AT_ONCE, footer.length - at)))
            if not _are_good(have, want, at // BLOCK_SIZE, footer.gone):
                return 0
        return footer.length


def _are_good(have: bytes, want: bytes, first: int, gone: bytes) -> bool:
    """Whether checksums of blocks from `first` on are those that are wanted, but for gone blocks."""
    want = want[first * SUM_SIZE : first * SUM_SIZE + len(have)]
    if have == want or not gone:
        return have == want
    places = ((block, slice(block * SUM_SIZE, (block + 1) * SUM_SIZE)) for block in range(len(have) // SUM_SIZE))
    return all(have[at] == want[at] or overlaps(gone, first + block, first + block + 1) for block, at in places)


def _pread(file: BinaryIO, buffer: mmap.mmap, offset: int, size: int) -> bytes:
    """Copied out, because a view would keep the buffer from being freed. Short at the end of the file."""
    got = os.preadv(file.fileno(), [memoryview(buffer)[:size]], offset)
    return buffer[:got]


def _condemn(shelf: Shelf, room: Room, chunk: ChunkId) -> bool:
    """Quarantines a chunk. False: it is gone, or somebody writes to it."""
    with shelf.changing:
        with shelf.lock:
            row = shelf.ledger.find(chunk)
            if row < 0 or shelf.ledger.state(row) & (COMPLETE | FILLING) != COMPLETE:
                return False
            handle = opened(shelf, chunk)
        if handle is None:
            return False
        room.quarantine(handle)
        return True
