"""A program: a store whose capacity is larger than its disk (a path with some 48 MB), which then gets really full."""

import os
import pathlib
import sys

sys.path.insert(0, os.getcwd())
from tests.rigs.chunks import chunk, holds, put

from forebay_cache.model.errors import StoreFull
from forebay_cache.model.ids import CHUNK_SIZE
from forebay_cache.store.disk import DiskStore
from forebay_cache.store.ledger import Limits

COUNT = 12


def held(store: DiskStore) -> list[int]:
    return [number for number in range(COUNT) if holds(store, chunk(number), CHUNK_SIZE, 0, CHUNK_SIZE)]


def run(disk: pathlib.Path) -> None:
    store = DiskStore.open(str(disk / "store"), Limits(1 << 30), cluster_uid="c", boot_id="b")
    for number in range(COUNT):  # 96 MiB: the oldest must go, although the capacity would take them
        put(store, chunk(number), CHUNK_SIZE)
    kept = held(store)
    assert 3 <= len(kept) <= 7, kept
    assert kept[-1] == COUNT - 1
    assert store.check() == []
    print("evicted")
    fill = store.reserve(chunk(90), CHUNK_SIZE)
    eat(disk / "other")  # somebody else takes the room that was free when the fill began
    refused = 0
    for start in range(0, CHUNK_SIZE, 1 << 20):
        try:
            fill.write(start, bytes(1 << 20))
        except StoreFull:
            refused += 1
            assert fill.missing(start, start + (1 << 20))
    fill.close()
    assert refused
    assert held(store) == kept[-len(held(store)) :]
    assert store.check() == []
    print("refused")
    (disk / "other").unlink()
    assert store.evict(chunk(90))
    put(store, chunk(0), CHUNK_SIZE)
    assert holds(store, chunk(0), CHUNK_SIZE, 0, CHUNK_SIZE)
    assert store.check() == []
    store.close()
    print("recovered")


def eat(path: pathlib.Path) -> None:
    with open(path, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError:
            return


if __name__ == "__main__":
    run(pathlib.Path(sys.argv[1]))
