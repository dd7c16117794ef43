"""The audit behind `check()`: disk against index, presence and checksums. Every stress test ends with it."""

import os
from collections.abc import Iterator

from forebay_cache.model.ids import BLOCK_SIZE
from forebay_cache.store.base import Problem
from forebay_cache.store.layout import FILE_SIZE, FOOTER_AT, FOOTER_SIZE, Footer, folder_of, parse_footer, parse_name
from forebay_cache.store.ledger import COMPLETE, FILLING
from forebay_cache.store.presence import missing
from forebay_cache.store.recover import Found, walk
from forebay_cache.store.shelf import Shelf, disk_blocks
from forebay_cache.store.sums import bad_blocks

_SLACK = 16
"""Blocks a file may use beyond what was counted: the file system maps a scattered file when it writes it back."""


def audit(shelf: Shelf, *, verify: bool) -> list[Problem]:
    """With `Shelf.changing` held. Raises OSError."""
    seen: set[int] = set()
    problems = [
        Problem(os.path.relpath(found.path, shelf.path), reason)
        for found in walk(shelf.chunks)
        for reason in _of_file(shelf, found, seen, verify=verify)
    ]
    with shelf.lock:
        rows = list(shelf.ledger.rows())
    problems += [Problem(str(shelf.ledger.chunk(row)), "in the index, not on disk") for row in rows if row not in seen]
    problems += [Problem("presence", reason) for reason in _of_slots(shelf, rows)]
    problems += [Problem("quarantine", reason) for reason in _of_sum(shelf, rows)]
    return problems


def _of_file(shelf: Shelf, found: Found, seen: set[int], *, verify: bool) -> Iterator[str]:
    name = parse_name(found.name)
    if name is None:
        yield "not a chunk's name"
        return
    chunk, partial = name
    row = shelf.ledger.find(chunk)
    if os.path.relpath(os.path.dirname(found.path), shelf.chunks) != folder_of(chunk):
        yield "in the wrong folder"
    if row < 0 or partial == bool(shelf.ledger.state(row) & COMPLETE):
        yield "not in the index under this name"
        return
    seen.add(row)
    if found.size != FILE_SIZE:
        yield f"is {found.size} bytes long, not {FILE_SIZE}"
    counted = shelf.ledger.blocks(row)
    if not shelf.ledger.state(row) & FILLING and not counted - _SLACK <= found.blocks <= counted + _SLACK:
        yield f"uses {found.blocks} blocks, {counted} are counted"
    yield from _of_bytes(shelf, found.path, row, verify=verify)


def _of_bytes(shelf: Shelf, path: str, row: int, *, verify: bool) -> Iterator[str]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        footer = parse_footer(os.pread(fd, FOOTER_SIZE, FOOTER_AT))
        if footer is None or footer.chunk != shelf.ledger.chunk(row):
            yield "its footer is damaged or another chunk's"
            return
        present = list(_present(shelf, footer, row))
        if any(last * BLOCK_SIZE > footer.length for _, last in present):
            yield "has blocks marked beyond its end"
        bad = [block for first, last in present for block in bad_blocks(fd, first, last)] if verify else []
        if bad:
            yield f"{len(bad)} blocks do not match their checksums, the first is {bad[0]}"
    finally:
        os.close(fd)


def _present(shelf: Shelf, footer: Footer, row: int) -> Iterator[tuple[int, int]]:
    """Runs of blocks that ought to be right."""
    at, end = 0, footer.length // BLOCK_SIZE
    if shelf.ledger.state(row) & COMPLETE and footer.gone:
        yield from missing(bytearray(footer.gone), 0, end)
        return
    if not shelf.ledger.state(row) & COMPLETE:
        bits = bytes(shelf.presence.bits(shelf.ledger.slot(row)))
        end = len(bits) * 8
        for first, last in missing(bytearray(bits), 0, end):
            if first > at:
                yield at, first
            at = last
    if at < end:
        yield at, end


def _of_slots(shelf: Shelf, rows: list[int]) -> Iterator[str]:
    slots = [shelf.ledger.slot(row) for row in rows if not shelf.ledger.state(row) & COMPLETE]
    presence = shelf.presence
    if len(set(slots)) != len(slots):
        yield "two partial chunks share a slot"
    if any(presence.is_free(slot) for slot in slots):
        yield "a partial chunk's slot counts as free"
    if presence.free + len(slots) != presence.slots:
        yield f"{presence.slots} slots, but {presence.free} free and {len(slots)} taken"


def _of_sum(shelf: Shelf, rows: list[int]) -> Iterator[str]:
    aside = sum(disk_blocks(entry.stat()) for entry in os.scandir(shelf.quarantine_folder))
    with shelf.lock:
        total = sum(shelf.ledger.blocks(row) for row in rows) + shelf.handles.pinned_blocks + aside
        used = shelf.ledger.used
    if total != used:
        yield f"{used} blocks are counted as used, but chunks, leases on evicted ones and this folder use {total}"
