"""What a store finds of itself at open: complete chunks, and the partial ones of this boot. All else of ours is deleted.

Names and sizes only: a complete chunk's footer is read at its first lease. About 10 us a chunk.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from forebay_cache.model.ids import ChunkId
from forebay_cache.store.edge import Point
from forebay_cache.store.layout import FILE_SIZE, FOOTER_AT, FOOTER_SIZE, parse_footer, parse_name
from forebay_cache.store.ledger import COMPLETE
from forebay_cache.store.shelf import Shelf, disk_blocks


@dataclass(frozen=True, slots=True)
class Found:
    """One file below the folder of chunks."""

    path: str
    name: str
    size: int
    blocks: int
    modified_ns: int


def recover(shelf: Shelf) -> None:
    """Fills the ledger, the chunk written longest ago first, and takes the slots of partial chunks. Raises OSError."""
    kept: list[tuple[int, ChunkId, int, int, int]] = []
    for found in walk(shelf.chunks):
        name = parse_name(found.name)
        if name is None:
            continue  # not ours; check() reports it
        chunk, partial = name
        slot = _slot(shelf, found.path, chunk) if partial else 0
        if found.size != FILE_SIZE or slot is None:
            shelf.at(Point.DELETE_STALE)
            os.unlink(found.path)
            continue
        kept.append((found.modified_ns, chunk, 0 if partial else COMPLETE, slot, found.blocks))
    for _, chunk, state, slot, blocks in sorted(kept):
        shelf.ledger.add(chunk, state, slot, blocks)


def _slot(shelf: Shelf, path: str, chunk: ChunkId) -> int | None:
    """The slot of a partial chunk that this boot wrote; None: it may not be trusted."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        footer = parse_footer(os.pread(fd, FOOTER_SIZE, FOOTER_AT))
    finally:
        os.close(fd)
    ours = footer is not None and footer.chunk == chunk and footer.boots == shelf.boots
    return footer.slot if footer and ours and shelf.presence.adopt(footer.slot) else None


def walk(folder: str) -> Iterator[Found]:
    """Every file below the folder of chunks. Raises OSError."""
    with os.scandir(folder) as listing:
        entries = list(listing)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from walk(entry.path)
        else:
            status = entry.stat(follow_symlinks=False)
            yield Found(entry.path, entry.name, status.st_size, disk_blocks(status), status.st_mtime_ns)
