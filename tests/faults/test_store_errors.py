"""The disk answers with an error at each point at which the store is about to change it: nothing half-made is left, what
was right before still is, and the store works on once the disk does."""

import errno
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing

import pytest
from tests.rigs.chunks import KIB, chunk, holds, put, put_blocks, write

from forebay_cache.model.errors import StoreError, StoreFailed, StoreFull
from forebay_cache.store.disk import DiskStore
from forebay_cache.store.edge import Hook, Point, passed
from forebay_cache.store.layout import FILE_SIZE
from forebay_cache.store.ledger import Limits

LENGTH = 64 * KIB
LIMITS = Limits(4 * FILE_SIZE)
AT_OPEN = [Point.LAY_PRESENCE, Point.WRITE_IDENTITY, Point.RENAME_IDENTITY, Point.DELETE_STALE]
IN_USE = [Point.CREATE, Point.SIZE, Point.FOOTER, Point.BYTES, Point.SUMS, Point.RENAME, Point.UNLINK]
ERRORS = [(errno.ENOSPC, StoreFull), (errno.EDQUOT, StoreFull), (errno.EIO, StoreFailed), (errno.EROFS, StoreFailed)]


class Failing:
    """A hook that raises while `broken` is set."""

    def __init__(self, point: Point, number: int) -> None:
        self.point, self.number, self.broken, self.hits = point, number, True, 0

    def __call__(self, point: Point) -> None:
        if self.broken and point == self.point:
            self.hits += 1
            raise OSError(self.number, "injected")


def open_store(path: pathlib.Path, at: Hook = passed, boot: str = "boot") -> DiskStore:
    return DiskStore.open(str(path / "store"), LIMITS, cluster_uid="c", boot_id=boot, at=at)


@pytest.mark.parametrize(("number", "expected"), ERRORS)
@pytest.mark.parametrize("point", IN_USE)
def test_an_error_in_use(tmp_path: pathlib.Path, point: Point, number: int, expected: type[StoreError]) -> None:
    failing = Failing(point, number)
    failing.broken = False
    store = open_store(tmp_path, failing)
    put(store, chunk(0), LENGTH)
    put(store, chunk(1), LENGTH)
    put_blocks(store, chunk(2), LENGTH, (0, 2))
    failing.broken = True
    steps: list[Callable[[], object]] = [
        lambda: put(store, chunk(2), LENGTH),
        lambda: put(store, chunk(3), LENGTH),
        lambda: store.evict(chunk(1)),
    ]
    for step in steps:
        hits = failing.hits
        try:
            step()
        except expected:
            assert failing.hits > hits
        else:
            assert failing.hits == hits
        assert store.check() == []
    assert failing.hits, "the point was not passed"
    assert holds(store, chunk(0), LENGTH, 0, LENGTH)
    assert holds(store, chunk(2), LENGTH, 0, 8 * KIB)
    failing.broken = False
    for again in range(6):
        put(store, chunk(again), LENGTH)
        assert holds(store, chunk(again), LENGTH, 0, LENGTH)
    assert store.check() == []
    store.close()
    with closing(open_store(tmp_path)) as reopened:
        assert reopened.check() == []
        assert reopened.stats().chunks == 6


@pytest.mark.parametrize(("number", "expected"), ERRORS)
@pytest.mark.parametrize("point", AT_OPEN)
def test_an_error_at_open(tmp_path: pathlib.Path, point: Point, number: int, expected: type[StoreError]) -> None:
    with closing(open_store(tmp_path)) as store:
        put(store, chunk(0), LENGTH)
        put_blocks(store, chunk(1), LENGTH, (0, 2))
    with pytest.raises(expected, match="opening"):
        open_store(tmp_path, Failing(point, number), boot="next")
    with closing(open_store(tmp_path, boot="next")) as store:  # the lock was given back
        assert holds(store, chunk(0), LENGTH, 0, LENGTH)
        assert (store.stats().chunks, store.stats().partial) == (1, 0)
        assert store.check() == []


@pytest.mark.parametrize("point", [Point.STAMP, Point.QUARANTINE])
def test_an_error_while_verifying(tmp_path: pathlib.Path, point: Point) -> None:
    with closing(open_store(tmp_path)) as store:
        put(store, chunk(0), LENGTH)
        put(store, chunk(1), LENGTH)
    (damaged,) = (tmp_path / "store" / "chunks").rglob("*-1")
    with open(damaged, "r+b") as file:
        file.write(b"damage")
    failing = Failing(point, errno.EROFS)
    with closing(open_store(tmp_path, failing, boot="next")) as store:
        assert holds(store, chunk(0), LENGTH, 0, LENGTH)
        with pytest.raises(StoreError):
            store.lease(chunk(1), 0, LENGTH)
        assert failing.hits == 1
        assert not is_served(store, 1)


def is_served(store: DiskStore, number: int) -> bool:
    try:
        return holds(store, chunk(number), LENGTH, 0, LENGTH)
    except StoreError:
        return False


def test_a_write_that_failed_can_be_done_again(tmp_path: pathlib.Path) -> None:
    failing = Failing(Point.SUMS, errno.EIO)
    with closing(open_store(tmp_path, failing)) as store, closing(store.reserve(chunk(0), LENGTH)) as fill:
        with pytest.raises(StoreFailed):
            write(fill, chunk(0), LENGTH, 0, 16)
        assert list(fill.missing(0, LENGTH)) == [(0, LENGTH)]
        assert store.lease(chunk(0), 0, 1) is None
        failing.broken = False
        write(fill, chunk(0), LENGTH, 0, 16)
        fill.complete()
        assert holds(store, chunk(0), LENGTH, 0, LENGTH)


@pytest.mark.root
@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_a_disk_that_is_really_full(tmp_path: pathlib.Path, kind: str) -> None:
    """In a mount namespace of its own, so that nothing stays mounted whatever happens."""
    if not shutil.which("unshare") or subprocess.run(["unshare", "--mount", "true"], check=False).returncode:
        pytest.skip("mounting a small disk needs root and unshare")
    image, place = tmp_path / "image", tmp_path / "disk"
    place.mkdir()
    mount = f"mount -t tmpfs -o size=48m none {place}"
    if kind == "ext4":
        if not shutil.which("mkfs.ext4"):
            pytest.skip("a small ext4 needs mkfs.ext4 (e2fsprogs)")
        subprocess.run(["truncate", "-s", "64M", image], check=True)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
        mount = f"mount -o loop {image} {place}"
    program = pathlib.Path(__file__).with_name("full_disk.py")
    ran = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f"{mount} && exec {sys.executable} {program} {place}"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=pathlib.Path(__file__).parents[2],
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == ["evicted", "refused", "recovered"]
