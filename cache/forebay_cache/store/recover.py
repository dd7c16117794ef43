"""What a store finds of itself at open: complete chunks, and the partial ones of this boot. All else of ours is deleted.

Names and sizes only: a complete chunk's footer is read at its first lease. About 10 us a chunk.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from forebay_cache.model.ids import BLOCK_SIZE, ChunkId
from forebay_cache.store.edge import Hook, Point
from forebay_cache.store.layout import FILE_SIZE, FOOTER_AT, FOOTER_SIZE, parse_footer, parse_name
from forebay_cache.store.ledger import COMPLETE, Ledger
from forebay_cache.store.presence import Presence


@dataclass(frozen=True, slots=True)
class _Found:
    path: str
    name: str
    size: int
    blocks: int
    modified_ns: int


def recover(folder: str, ledger: Ledger, presence: Presence, boots: int, at: Hook) -> None:
    """Fills the ledger, the chunk written longest ago first, and takes the slots of partial chunks. Raises OSError."""
    kept: list[tuple[int, ChunkId, int, int, int]] = []
    for found in _walk(folder):
        name = parse_name(found.name)
        if name is None:
            continue  # not ours; check() reports it
        chunk, partial = name
        slot = _slot(found, chunk, presence, boots) if partial else 0
        if found.size != FILE_SIZE or slot is None:
            at(Point.DELETE_STALE)
            os.unlink(found.path)
            continue
        kept.append((found.modified_ns, chunk, 0 if partial else COMPLETE, slot, found.blocks))
    for _, chunk, state, slot, blocks in sorted(kept):
        ledger.add(chunk, state, slot, blocks)


def disk_blocks(status: os.stat_result) -> int:
    """Blocks of 4 KiB a file uses on disk."""
    return -(-status.st_blocks * 512 // BLOCK_SIZE)


def _slot(found: _Found, chunk: ChunkId, presence: Presence, boots: int) -> int | None:
    """The slot of a partial chunk that this boot wrote; None: it may not be trusted."""
    fd = os.open(found.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        footer = parse_footer(os.pread(fd, FOOTER_SIZE, FOOTER_AT))
    finally:
        os.close(fd)
    if footer is None or footer.chunk != chunk or footer.boots != boots or not presence.adopt(footer.slot):
        return None
    return footer.slot


def _walk(folder: str) -> Iterator[_Found]:
    for outer in os.scandir(folder):
        for inner in os.scandir(outer.path):
            for file in os.scandir(inner.path):
                status = file.stat(follow_symlinks=False)
                yield _Found(file.path, file.name, status.st_size, disk_blocks(status), status.st_mtime_ns)
