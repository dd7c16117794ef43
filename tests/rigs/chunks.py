"""Chunks whose bytes follow from their names, and the few steps that store tests are made of."""

import os
import random
from collections.abc import Callable

from forebay_cache.model.ids import BLOCK_SIZE, ChunkId, SegmentId
from forebay_cache.store.base import Fill, Lease, Store
from forebay_cache.store.ledger import Limits

KIB = 1024
Opener = Callable[[Limits], Store]


def chunk(number: int, segment: int = 1) -> ChunkId:
    return ChunkId(SegmentId(segment.to_bytes(32, "big")), number)


def content(name: ChunkId, length: int) -> bytes:
    """What the chunk must hold, whoever filled it."""
    return random.Random(str(name)).randbytes(length)


def write(fill: Fill, name: ChunkId, length: int, first: int, last: int) -> None:
    """Writes blocks [first, last)."""
    start, stop = first * BLOCK_SIZE, last * BLOCK_SIZE
    fill.write(start, content(name, length)[start:stop])


def put(store: Store, name: ChunkId, length: int) -> None:
    """Fills a chunk whole and completes it."""
    fill = store.reserve(name, length)
    try:
        for start, stop in fill.missing(0, length):
            fill.write(start, content(name, length)[start:stop])
        fill.complete()
    finally:
        fill.close()


def put_blocks(store: Store, name: ChunkId, length: int, *runs: tuple[int, int]) -> None:
    """Leaves a partial chunk with these blocks."""
    fill = store.reserve(name, length)
    try:
        for first, last in runs:
            write(fill, name, length, first, last)
    finally:
        fill.close()


def read(lease: Lease, start: int, stop: int) -> bytes:
    return os.pread(lease.fd, stop - start, start)


def holds(store: Store, name: ChunkId, length: int, start: int, stop: int) -> bool:
    """Whether the range is served; asserts that it is served right."""
    lease = store.lease(name, start, stop)
    if lease is None:
        return False
    try:
        assert read(lease, start, stop) == content(name, length)[start:stop]
    finally:
        lease.close()
    return True
