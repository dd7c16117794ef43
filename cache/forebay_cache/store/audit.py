"""Audits a store: what is on disk against the account, the presence map and the checksums. Blocking, nothing is changed."""

import os
from collections.abc import Iterator

from forebay_cache.model.ids import BLOCK_SIZE, ChunkId
from forebay_cache.store.base import Problem
from forebay_cache.store.layout import (
    FILE_SIZE,
    FOOTER_AT,
    FOOTER_SIZE,
    Footer,
    blocks_of,
    complete_name,
    parse_footer,
    parse_name,
    partial_name,
)
from forebay_cache.store.ledger import COMPLETE
from forebay_cache.store.presence import missing
from forebay_cache.store.recover import disk_blocks
from forebay_cache.store.shelf import Shelf
from forebay_cache.store.sums import bad_blocks


def audit(shelf: Shelf, *, verify: bool) -> list[Problem]:
    """[] is a clean store. Call while nothing is being created, renamed or deleted."""
    known = {shelf.ledger.chunk(row): row for row in shelf.ledger.rows()}
    found: set[ChunkId] = set()
    problems: list[Problem] = []
    for path in _files(shelf.chunks):
        name = parse_name(os.path.basename(path))
        if name is None:
            problems.append(Problem(path, "not a chunk's name"))
            continue
        chunk, partial = name
        found.add(chunk)
        problems += [Problem(path, reason) for reason in _faults(shelf, path, known.get(chunk), chunk, partial=partial)]
        if verify and not problems:
            problems += [Problem(path, reason) for reason in _bad(shelf, path, known[chunk])]
    problems += [Problem(str(chunk), "in the account, but not on disk") for chunk in known if chunk not in found]
    return problems + _used(shelf)


def _faults(shelf: Shelf, path: str, row: int | None, chunk: ChunkId, *, partial: bool) -> Iterator[str]:
    if row is None:
        yield "on disk, but not in the account"
        return
    if partial == bool(shelf.ledger.state(row) & COMPLETE):
        yield "complete in one place, partial in the other"
    if not path.endswith(partial_name(chunk) if partial else complete_name(chunk)):
        yield "in the wrong folder"
    status = os.stat(path)
    if status.st_size != FILE_SIZE:
        yield f"{status.st_size} bytes long, not {FILE_SIZE}"
    if disk_blocks(status) != shelf.ledger.blocks(row):
        yield f"{disk_blocks(status)} blocks on disk, {shelf.ledger.blocks(row)} in the account"
    footer = _footer(path)
    if footer is None or footer.chunk != chunk:
        yield "its footer is damaged or another chunk's"
    elif partial and (footer.slot != shelf.ledger.slot(row) or shelf.presence.is_free(footer.slot)):
        yield f"slot {footer.slot} of the presence map is not its own"


def _bad(shelf: Shelf, path: str, row: int) -> Iterator[str]:
    """Blocks that are said to be here and do not match their checksums."""
    footer = _footer(path)
    if footer is None:
        return
    first, last = blocks_of(0, footer.length)
    here = [(first, last)]
    if not shelf.ledger.state(row) & COMPLETE:
        absent = missing(shelf.presence.bits(footer.slot), first, last)
        edges = [first, *(edge for run in absent for edge in run), last]
        here = list(zip(edges[::2], edges[1::2], strict=True))
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for start, stop in here:
            for block in bad_blocks(fd, start, stop):
                yield f"block {block} does not match its checksum"
    finally:
        os.close(fd)


def _used(shelf: Shelf) -> list[Problem]:
    """What the account adds up to, against what it holds; bytes of evicted chunks count until their leases are closed."""
    total = sum(shelf.ledger.blocks(row) for row in shelf.ledger.rows())
    total += sum(disk_blocks(entry.stat()) for entry in os.scandir(shelf.quarantine))
    if shelf.ledger.used < total:
        return [Problem(shelf.path, f"{total * BLOCK_SIZE} bytes on disk, {shelf.ledger.used * BLOCK_SIZE} accounted")]
    return []


def _footer(path: str) -> Footer | None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return parse_footer(os.pread(fd, FOOTER_SIZE, FOOTER_AT))
    finally:
        os.close(fd)


def _files(folder: str) -> Iterator[str]:
    for parent, _, names in os.walk(folder):
        for name in names:
            yield os.path.join(parent, name)
