"""A fill of one chunk: the only code that writes a chunk file. Bytes, then checksums, then bits; complete by rename."""

import os
from collections.abc import Sequence
from dataclasses import replace

from forebay_cache.model.errors import StoreError, StoreFailed
from forebay_cache.model.ids import BLOCK_SIZE, ChunkId
from forebay_cache.model.ranges import covered
from forebay_cache.store.edge import Point, store_error
from forebay_cache.store.handles import HandleLease
from forebay_cache.store.layout import (
    EXTRA_BLOCKS,
    FILE_SIZE,
    FOOTER_AT,
    FOOTER_SIZE,
    SUM_SIZE,
    SUMS_AT,
    Footer,
    blocks_of,
    parse_footer,
)
from forebay_cache.store.ledger import COMPLETE, FILLING
from forebay_cache.store.presence import BITS_SIZE, Bits, bits_of, mark, missing, others
from forebay_cache.store.shelf import Shelf, disk_blocks, opened
from forebay_cache.store.sums import sums


def create(shelf: Shelf, footer: Footer) -> int:
    """Makes the file of a partial chunk that has nothing yet; nothing is left if that fails. -> its descriptor."""
    path = shelf.partial_path(footer.chunk)
    shelf.at(Point.CREATE)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        shelf.at(Point.SIZE)
        os.ftruncate(fd, FILE_SIZE)
        shelf.at(Point.FOOTER)
        _write(fd, memoryview(footer.pack()), FOOTER_AT)
    except BaseException:
        os.close(fd)
        os.unlink(path)
        raise
    return fd


class DiskFill:
    """See `Fill`. Made by the store, which has marked `row` as being filled and promised it room. `fd` of -1: the chunk is
    complete already, and `gone`: but for these blocks. Any thread may call; writes of disjoint ranges run side by side."""

    def __init__(self, shelf: Shelf, row: int, fd: int, length: int, gone: bytes = b"") -> None:
        self._shelf = shelf
        self._row = row
        self._chunk: ChunkId = shelf.ledger.chunk(row)
        self._fd = fd
        self._length = length
        self._bits: Bits | None = None
        if fd >= 0:
            self._bits = others(gone) if gone else shelf.presence.bits(shelf.ledger.slot(row))
        self._promise = 0
        self._writers = 0
        self._closed = False
        if fd >= 0:
            self._promise = max(0, length // BLOCK_SIZE + EXTRA_BLOCKS - shelf.ledger.blocks(row))
            shelf.ledger.promised += self._promise

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data).cast("B")
        first, last = self._blocks(offset, offset + len(view))
        with self._shelf.lock:
            if self._closed:
                raise StoreError(f"write to chunk {self._chunk} after its fill was closed")
            if self._bits is None:
                return  # complete: the same bytes are there
            self._writers += 1
        try:
            self._put(view, first, last)
        except OSError as exc:
            raise store_error(exc, f"writing chunk {self._chunk}") from exc
        finally:
            self._written()

    def missing(self, start: int, stop: int) -> Sequence[tuple[int, int]]:
        first, last = blocks_of(start, min(stop, self._length))
        with self._shelf.lock:
            runs = missing(self._bits, first, last) if self._bits is not None else []
        return [(a * BLOCK_SIZE, b * BLOCK_SIZE) for a, b in runs]

    def lease(self) -> HandleLease:
        try:
            with self._shelf.lock:
                handle = opened(self._shelf, self._chunk)
                if handle is not None:
                    return self._shelf.handles.lease(handle)
        except OSError as exc:
            raise store_error(exc, f"opening chunk {self._chunk}") from exc
        raise StoreFailed(
            f"the file of chunk {self._chunk} is gone: something else deletes files in {self._shelf.path}"
        )

    def complete(self, gone: Sequence[tuple[int, int]] = ()) -> None:
        shelf = self._shelf
        with shelf.changing:
            if self._bits is None:
                return
            left = self.missing(0, self._length)
            if not all(covered(run, gone) for run in left):
                raise StoreError(f"chunk {self._chunk} is not complete: {len(left)} gaps")
            lacking = bits_of(blocks_of(*run) for run in left)
            partial = not shelf.ledger.state(self._row) & COMPLETE
            try:
                self._tell_gone(lacking)
                if partial:
                    shelf.at(Point.RENAME)
                    os.rename(shelf.partial_path(self._chunk), shelf.complete_path(self._chunk))
            except OSError as exc:
                raise store_error(exc, f"completing chunk {self._chunk}") from exc
            if partial:
                shelf.at(Point.FREE_SLOT)
            self._completed(lacking, partial=partial)

    def close(self) -> None:
        ledger = self._shelf.ledger
        with self._shelf.lock:
            if self._closed:
                return
            self._closed = True
            ledger.set_state(self._row, ledger.state(self._row) & ~FILLING)
            ledger.promised -= self._promise
            self._promise = 0
            self._close_if_idle()

    def _blocks(self, start: int, stop: int) -> tuple[int, int]:
        if start % BLOCK_SIZE or stop % BLOCK_SIZE or not 0 <= start <= stop <= self._length:
            raise ValueError(f"[{start}, {stop}) are not whole blocks of a chunk of {self._length} bytes")
        return blocks_of(start, stop)

    def _put(self, view: memoryview, first: int, last: int) -> None:
        """The order is rule 3: who sees a bit finds checksum and bytes."""
        checksums, at = sums(view), self._shelf.at
        at(Point.BYTES)
        _write(self._fd, view, first * BLOCK_SIZE)
        at(Point.SUMS)
        _write(self._fd, memoryview(checksums), SUMS_AT + first * SUM_SIZE)
        at(Point.BITS)
        with self._shelf.lock:
            if self._bits is not None:
                mark(self._bits, first, last)

    def _tell_gone(self, gone: bytes) -> None:
        """In the footer, before the chunk has its name. Gone blocks get no checksums: should a power cut lose this footer and
        not the name, they count as damaged."""
        said = parse_footer(os.pread(self._fd, FOOTER_SIZE, FOOTER_AT))
        if said is not None and said.gone != gone:
            self._shelf.at(Point.FOOTER)
            _write(self._fd, memoryview(replace(said, gone=gone).pack()), FOOTER_AT)

    def _written(self) -> None:
        """Counts what the disk has taken, also of a write that failed."""
        ledger = self._shelf.ledger
        with self._shelf.lock:
            # looked at under the lock: an older count must not replace a newer one
            blocks = disk_blocks(os.fstat(self._fd))
            kept = min(max(0, ledger.resize(self._row, blocks)), self._promise)
            ledger.promised -= kept
            self._promise -= kept
            self._writers -= 1
            self._close_if_idle()

    def _completed(self, gone: bytes, *, partial: bool) -> None:
        shelf = self._shelf
        with shelf.lock:
            # before the slot is free, because another chunk may claim and clear it at once
            self._bits = others(gone) if gone else None
            handle = shelf.handles.get(self._chunk)
            if handle is not None:
                handle.gone, handle.partial = gone, False
                handle.bits = bytearray(b"\xff" * BITS_SIZE) if gone else None
            shelf.ledger.set_state(self._row, shelf.ledger.state(self._row) | COMPLETE)
            if partial:
                shelf.presence.release(shelf.ledger.slot(self._row))

    def _close_if_idle(self) -> None:
        if self._closed and not self._writers and self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _write(fd: int, view: memoryview, offset: int) -> None:
    """All of it: a disk that is nearly full takes a part first."""
    while view:
        done = os.pwrite(fd, view, offset)
        view, offset = view[done:], offset + done
