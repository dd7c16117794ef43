"""A process is killed at each point at which it is about to change the store; then it is opened again, as the same boot
and as another, and every byte is checked."""

import os
import pathlib
import random
import signal

import pytest
from tests.rigs.chunks import KIB, chunk, content, holds, put, put_blocks, write

from forebay_cache.model.errors import ChunkCorrupt
from forebay_cache.model.ids import BLOCK_SIZE
from forebay_cache.store.base import Store
from forebay_cache.store.disk import DiskStore
from forebay_cache.store.edge import Hook, Point, passed
from forebay_cache.store.layout import FILE_SIZE
from forebay_cache.store.ledger import Limits

LENGTH = 128 * KIB
LIMITS = Limits(2 * FILE_SIZE)
CHUNKS = 8
WRITTEN = "written"
"""File in which the child notes what the store has told it was done: the bytes that must be there after it is killed."""


def open_store(path: pathlib.Path, boot: str, at: Hook = passed, limits: Limits = LIMITS) -> DiskStore:
    return DiskStore.open(str(path / "store"), limits, cluster_uid="c", boot_id=boot, at=at)


def prepare(path: pathlib.Path) -> None:
    """An earlier boot left a right chunk, a corrupt one and a partial one."""
    store = open_store(path, "earlier")
    put(store, chunk(100), LENGTH)
    put(store, chunk(101), LENGTH)
    put_blocks(store, chunk(102), LENGTH, (0, 3))
    store.close()
    (damaged,) = (path / "store" / "chunks").rglob("*-101")
    with open(damaged, "r+b") as file:
        file.seek(5 * BLOCK_SIZE)
        file.write(b"damage")


def live(path: pathlib.Path, at: Hook) -> None:
    """Everything a store does that changes the disk, noting what is done."""
    with open(path / WRITTEN, "a", buffering=1) as noted:
        store = open_store(path, "boot", at)
        assert holds(store, chunk(100), LENGTH, 0, LENGTH)
        with pytest.raises(ChunkCorrupt):
            store.lease(chunk(101), 0, LENGTH)
        for number in range(CHUNKS):
            fill = store.reserve(chunk(number), LENGTH)
            for first in (8, 0, 24, 16):
                write(fill, chunk(number), LENGTH, first, first + 8)
                noted.write(f"+ {number} {first}\n")
            fill.complete()
            fill.close()
        for number in (1, 3):
            noted.write(f"- {number}\n")
            store.evict(chunk(number))
        put_blocks(store, chunk(50), LENGTH, (3, 9))
        noted.write("- 50\n")
        store.evict(chunk(50))
        put_blocks(store, chunk(51), LENGTH, (3, 9))
        store.close()


def die_at(path: pathlib.Path, point: Point, count: int) -> bool:
    """Runs `live` in a child that is killed when it passes the point for the count-th time. -> whether it was."""
    child = os.fork()
    if not child:
        left = count

        def hook(passing: Point) -> None:
            nonlocal left
            left -= passing == point
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            live(path, hook)
        finally:
            os._exit(0)  # nothing of the test runner may run here
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def noted(path: pathlib.Path) -> dict[int, set[int]]:
    """Chunk number -> first blocks of the writes that were done; without the chunks that may be evicted."""
    done: dict[int, set[int]] = {}
    for line in (path / WRITTEN).read_text().splitlines():
        sign, number, *first = line.split()
        if sign == "+":
            done.setdefault(int(number), set()).add(int(first[0]))
        else:
            done.pop(int(number), None)
    return done


def served(store: Store, number: int) -> set[int]:
    """Blocks the store serves; asserts that they are right."""
    blocks = range(LENGTH // BLOCK_SIZE)
    return {b for b in blocks if holds(store, chunk(number), LENGTH, b * BLOCK_SIZE, (b + 1) * BLOCK_SIZE)}


def everything_works(store: DiskStore) -> None:
    """Whatever was found, any chunk can be filled, read and evicted, and the audit is clean."""
    for number in [*range(CHUNKS), 50, 51, 100, 101, 102]:
        put(store, chunk(number), LENGTH)
        assert holds(store, chunk(number), LENGTH, 0, LENGTH)
    assert store.check() == []
    for number in [*range(CHUNKS), 50, 51, 100, 101, 102]:
        assert store.evict(chunk(number))
    assert (store.stats().chunks, store.stats().partial) == (0, 0)
    assert store.check() == []


# how often `live` passes each point at least: at open, at a first and at a later chunk
CASES = [(point, count) for point in Point for count in (1, 2, 6, 19)]
ONCE = {
    Point.LAY_PRESENCE: 1,
    Point.WRITE_IDENTITY: 1,
    Point.RENAME_IDENTITY: 1,
    Point.DELETE_STALE: 1,
    Point.STAMP: 1,
    Point.QUARANTINE: 1,
    Point.UNLINK: 3,
    Point.FORGET: 3,
    Point.CREATE: CHUNKS + 2,
    Point.SIZE: CHUNKS + 2,
    Point.FOOTER: CHUNKS + 2,
    Point.RENAME: CHUNKS,
    Point.FREE_SLOT: CHUNKS,
}


@pytest.mark.parametrize("boot", ["boot", "another"])
@pytest.mark.parametrize(("point", "count"), [case for case in CASES if case[1] <= ONCE.get(case[0], 19)])
def test_a_kill_at_any_point_leaves_a_right_store(tmp_path: pathlib.Path, point: Point, count: int, boot: str) -> None:
    prepare(tmp_path)
    assert die_at(tmp_path, point, count), f"{point.name} was not passed {count} times: the test tests nothing"
    store = open_store(tmp_path, boot)
    done = noted(tmp_path)
    assert store.check(verify=boot == "boot") == [] or corrupt_is_still_there(store)
    for number in range(CHUNKS):
        wanted = {first + block for first in done.get(number, ()) for block in range(8)}
        if boot == "boot" or (len(wanted) == LENGTH // BLOCK_SIZE and is_complete(tmp_path, number)):
            assert served(store, number) >= wanted, f"chunk {number} lost bytes that were written"
        elif not is_complete(tmp_path, number):
            assert not served(store, number), f"partial chunk {number} outlived its boot"
    everything_works(store)
    store.close()


def corrupt_is_still_there(store: DiskStore) -> bool:
    """The only problem may be the chunk that the test damaged, when the child died before it found out."""
    problems = store.check()
    return [problem.path.rpartition("-")[2] for problem in problems] in ([], ["101"])


def is_complete(path: pathlib.Path, number: int) -> bool:
    return bool(list((path / "store" / "chunks").rglob(f"*-{number}")))


@pytest.mark.parametrize("point", [Point.LAY_PRESENCE, Point.WRITE_IDENTITY, Point.RENAME_IDENTITY])
def test_a_kill_while_a_store_is_made_leaves_none_or_a_right_one(tmp_path: pathlib.Path, point: Point) -> None:
    assert die_at(tmp_path, point, 1)
    store = open_store(tmp_path, "boot")
    everything_works(store)
    store.close()


@pytest.mark.parametrize("seed", range(6))
def test_a_kill_at_any_moment_leaves_a_right_store(tmp_path: pathlib.Path, seed: int) -> None:
    """As above with the kill from outside, in the middle of a write or wherever it meets."""
    print("seed", seed)
    rng = random.Random(seed)
    read_end, write_end = os.pipe()
    child = os.fork()
    if not child:
        try:
            fill_for_ever(tmp_path, write_end)
        finally:
            os._exit(0)
    os.close(write_end)
    for _ in range(rng.randrange(20, 400)):
        assert os.read(read_end, 1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(read_end)
    for boot in ("boot", "another"):
        store = open_store(tmp_path, boot)
        assert store.check() == []
        for number in range(40):
            served(store, number)
        assert boot == "boot" or not store.stats().partial
        store.close()


def fill_for_ever(path: pathlib.Path, progress: int) -> None:
    store = open_store(path, "boot", limits=Limits(3 * FILE_SIZE))
    number = 0
    while True:
        fill = store.reserve(chunk(number % 40), LENGTH)
        for start, stop in fill.missing(0, LENGTH):
            for at in range(start, stop, 8 * BLOCK_SIZE):
                fill.write(at, content(chunk(number % 40), LENGTH)[at : min(at + 8 * BLOCK_SIZE, stop)])
                os.write(progress, b".")
        if number % 3:
            fill.complete()
        fill.close()
        if number % 5 == 0:
            store.evict(chunk((number - 7) % 40))
        number += 1
