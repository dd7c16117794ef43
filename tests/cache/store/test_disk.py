"""What only the store on disk has: boots, verification, quarantine, the file format, who may open it."""

import os
import pathlib
import random
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from tests.rigs.chunks import KIB, chunk, content, holds, put, put_blocks, read, write

from forebay_cache.model.errors import ChunkCorrupt, ConfigError, StoreFailed
from forebay_cache.model.ids import BLOCK_SIZE, CHUNK_SIZE, ChunkId
from forebay_cache.store.disk import DiskStore
from forebay_cache.store.layout import FILE_SIZE, FOOTER_AT, SUMS_AT, complete_name, partial_name
from forebay_cache.store.ledger import Limits

LENGTH = 256 * KIB
LIMITS = Limits(256 << 20)


class Home:
    def __init__(self, path: pathlib.Path) -> None:
        self.path = path / "store"

    @contextmanager
    def open(self, boot: str = "boot", limits: Limits = LIMITS, cluster: str = "c") -> Iterator[DiskStore]:
        with closing(DiskStore.open(str(self.path), limits, cluster_uid=cluster, boot_id=boot)) as store:
            yield store

    def file(self, name: ChunkId) -> pathlib.Path:
        paths = (self.path / "chunks" / complete_name(name), self.path / "chunks" / partial_name(name))
        (found,) = filter(pathlib.Path.exists, paths)
        return found

    def damage(self, name: ChunkId, offset: int, data: bytes = b"damage") -> None:
        with open(self.file(name), "r+b") as file:
            file.seek(offset)
            file.write(data)


@pytest.fixture
def home(tmp_path: pathlib.Path) -> Home:
    return Home(tmp_path)


# restarts


def test_the_same_boot_keeps_everything_and_reads_nothing_again(home: Home) -> None:
    with home.open() as store:
        put(store, chunk(0), LENGTH)
        put_blocks(store, chunk(1), LENGTH, (3, 9))
        member = store.member
    home.damage(chunk(0), 0)  # not noticed: the page cache outlived the process, so nothing is verified
    with home.open() as store:
        assert store.member == member
        lease = store.lease(chunk(0), 0, LENGTH)
        assert lease is not None
        assert lease.whole
        assert read(lease, 0, 6) == b"damage"
        lease.close()
        assert holds(store, chunk(1), LENGTH, 3 * BLOCK_SIZE, 9 * BLOCK_SIZE)
        assert not holds(store, chunk(1), LENGTH, 2 * BLOCK_SIZE, 9 * BLOCK_SIZE)
        put(store, chunk(1), LENGTH)
        assert holds(store, chunk(1), LENGTH, 0, LENGTH)
        assert [problem.reason for problem in store.check()] == [
            "1 blocks do not match their checksums, the first is 0"
        ]


def lacking(store: DiskStore, *gone: tuple[int, int]) -> None:
    """A complete chunk 0 but for these blocks."""
    fill = store.reserve(chunk(0), LENGTH)
    for start, stop in fill.missing(0, LENGTH):
        for block in range(start // BLOCK_SIZE, stop // BLOCK_SIZE):
            if not any(first <= block < last for first, last in gone):
                write(fill, chunk(0), LENGTH, block, block + 1)
    fill.complete([(first * BLOCK_SIZE, last * BLOCK_SIZE) for first, last in gone])
    fill.close()


@pytest.mark.parametrize("boots", [("boot",), ("next",), ("boot", "next", "next", "third")])
def test_a_chunk_that_lacks_gone_parts_outlives_a_boot_and_still_lacks_them(home: Home, boots: tuple[str, ...]) -> None:
    with home.open() as store:
        lacking(store, (5, 8))
    for boot in boots:
        with home.open(boot) as store:
            assert (store.stats().chunks, store.stats().partial) == (1, 0)
            assert holds(store, chunk(0), LENGTH, 0, 5 * BLOCK_SIZE)
            assert store.lease(chunk(0), 4 * BLOCK_SIZE, 6 * BLOCK_SIZE) is None
            assert holds(store, chunk(0), LENGTH, 8 * BLOCK_SIZE, LENGTH)
            scrubbed = store.scrub(-1)
            assert scrubbed
            assert scrubbed.good
            fill = store.reserve(chunk(0), LENGTH)
            assert list(fill.missing(0, LENGTH)) == [(5 * BLOCK_SIZE, 8 * BLOCK_SIZE)]
            fill.close()
            assert store.check() == []
    with home.open(boots[-1]) as store:
        put(store, chunk(0), LENGTH)
        assert store.check() == []
    with home.open("last") as store:
        assert holds(store, chunk(0), LENGTH, 0, LENGTH)


def test_a_gone_block_cannot_be_had_where_the_footer_says_so_no_longer(home: Home) -> None:
    """A damaged footer is a damaged chunk, whichever of its bytes."""
    with home.open() as store:
        lacking(store, (5, 8))
    for at in (60, 66, 68, 100, 326):
        home.damage(chunk(0), FOOTER_AT + at, b"\x55")
        with home.open("next") as store, pytest.raises(ChunkCorrupt):
            store.lease(chunk(0), 0, BLOCK_SIZE)
        with home.open("boot") as store:
            assert store.lease(chunk(0), 0, BLOCK_SIZE) is None
            lacking(store, (5, 8))


def test_damage_beside_a_gone_block_is_found(home: Home) -> None:
    with home.open() as store:
        lacking(store, (5, 8))
    home.damage(chunk(0), 9 * BLOCK_SIZE)
    with home.open("next") as store:
        assert holds(store, chunk(0), LENGTH, 0, 5 * BLOCK_SIZE)
        with pytest.raises(ChunkCorrupt):
            store.lease(chunk(0), 9 * BLOCK_SIZE, 10 * BLOCK_SIZE)


def test_another_boot_forgets_partial_chunks_and_keeps_complete_ones(home: Home) -> None:
    with home.open() as store:
        put(store, chunk(0), LENGTH)
        put_blocks(store, chunk(1), LENGTH, (3, 9))
    with home.open("next") as store:
        assert (store.stats().chunks, store.stats().partial) == (1, 0)
        assert holds(store, chunk(0), LENGTH, 0, LENGTH)
        assert store.lease(chunk(1), 3 * BLOCK_SIZE, 4 * BLOCK_SIZE) is None
        assert store.check() == []


def test_after_a_boot_only_the_blocks_asked_for_are_verified(home: Home) -> None:
    with home.open() as store:
        put(store, chunk(0), LENGTH)
    home.damage(chunk(0), 40 * BLOCK_SIZE)
    with home.open("next") as store:
        lease = store.lease(chunk(0), 0, 40 * BLOCK_SIZE)
        assert lease is not None
        assert not lease.whole
        assert read(lease, 0, 40 * BLOCK_SIZE) == content(chunk(0), LENGTH)[: 40 * BLOCK_SIZE]
        with pytest.raises(ChunkCorrupt):
            store.lease(chunk(0), 40 * BLOCK_SIZE, 40 * BLOCK_SIZE + 1)
        assert store.lease(chunk(0), 0, 1) is None
        lease.close()
        assert store.check() == []


def test_a_verified_chunk_is_remembered_in_its_boot_an_unverified_one_is_not(home: Home) -> None:
    with home.open() as store:
        put(store, chunk(0), LENGTH)
        put(store, chunk(1), LENGTH)
    with home.open("next") as store:
        lease = store.lease(chunk(0), 0, LENGTH)
        assert lease is not None
        assert lease.whole
        lease.close()
    home.damage(chunk(0), 0)
    home.damage(chunk(1), 0)
    with home.open("next") as store:
        assert store.lease(chunk(0), 0, 1) is not None  # trusted: this boot has verified all of it
        with pytest.raises(ChunkCorrupt):
            store.lease(chunk(1), 0, 1)
    with home.open("third") as store, pytest.raises(ChunkCorrupt):
        store.lease(chunk(0), 0, 1)


def test_a_disk_that_comes_back_in_the_same_boot_is_verified(home: Home) -> None:
    with home.open("here") as store:
        put(store, chunk(0), LENGTH)
    with home.open("there"):
        pass
    home.damage(chunk(0), 0)
    with home.open("here") as store, pytest.raises(ChunkCorrupt):
        store.lease(chunk(0), 0, 1)


@pytest.mark.parametrize("seed", range(8))
def test_what_a_power_cut_loses_is_never_served(home: Home, seed: int) -> None:
    """Any blocks of any file may be zeros again, or the file short; all that is served is right."""
    print("seed", seed)
    rng = random.Random(seed)
    with home.open() as store:
        for number in range(12):
            put(store, chunk(number), LENGTH)
        for number in range(12, 16):
            put_blocks(store, chunk(number), LENGTH, (0, 30))
    for number in range(16):
        for _ in range(rng.randrange(3)):
            block = rng.choice([rng.randrange(64), SUMS_AT // BLOCK_SIZE, FOOTER_AT // BLOCK_SIZE])
            home.damage(chunk(number), block * BLOCK_SIZE, bytes(BLOCK_SIZE))
        if rng.random() < 0.1:
            os.truncate(home.file(chunk(number)), rng.randrange(FILE_SIZE))
    if rng.random() < 0.5:
        (home.path / "presence").write_bytes(rng.randbytes(70_000))
    with home.open("next") as store:
        served = sum(whole_or_refused(store, number) for number in range(16))
        assert served < 16
        assert store.check() == []
        for number in range(16):
            put(store, chunk(number), LENGTH)
            assert holds(store, chunk(number), LENGTH, 0, LENGTH)
        assert store.check() == []


def whole_or_refused(store: DiskStore, number: int) -> bool:
    try:
        return holds(store, chunk(number), LENGTH, 0, LENGTH)
    except ChunkCorrupt:
        return False


# corruption


def test_a_corrupt_chunk_goes_to_quarantine_and_can_be_filled_again(home: Home) -> None:
    with home.open() as store:
        put(store, chunk(0), LENGTH)
    home.damage(chunk(0), LENGTH - 1, b"?")
    with home.open("next") as store:
        with pytest.raises(ChunkCorrupt, match="quarantined"):
            store.lease(chunk(0), 0, LENGTH)
        assert (store.stats().quarantined, store.stats().chunks) == (1, 0)
        assert store.stats().used > LENGTH  # it still lies there
        put(store, chunk(0), LENGTH)
        assert holds(store, chunk(0), LENGTH, 0, LENGTH)
        assert store.check() == []
    assert len(os.listdir(home.path / "quarantine")) == 1


@pytest.mark.parametrize("at", [0, LENGTH - 1, SUMS_AT + 8, FOOTER_AT, FOOTER_AT + 50])
def test_reserve_makes_a_corrupt_chunk_anew(home: Home, at: int) -> None:
    with home.open() as store:
        put(store, chunk(0), LENGTH)
    home.damage(chunk(0), at, b"?")
    with home.open("next") as store:
        put(store, chunk(0), LENGTH)
        assert store.stats().quarantined == 1
        assert holds(store, chunk(0), LENGTH, 0, LENGTH)
        assert store.check() == []


def test_bytes_that_are_passed_on_are_verified_also_when_they_were_before(home: Home) -> None:
    with home.open() as store:
        put(store, chunk(0), LENGTH)
        put_blocks(store, chunk(1), LENGTH, (0, 4))
        assert store.verified(chunk(0), 5000, 9000) == content(chunk(0), LENGTH)[5000:9000]
        home.damage(chunk(0), 8192, b"?")
        assert store.verified(chunk(0), 0, 8192) == content(chunk(0), LENGTH)[:8192]
        with pytest.raises(ChunkCorrupt):
            store.verified(chunk(0), 5000, 9000)
        assert store.stats().quarantined == 1
        home.damage(chunk(1), 0, b"?")
        with pytest.raises(ChunkCorrupt):
            store.verified(chunk(1), 0, 1)
        assert (store.stats().chunks, store.stats().partial) == (0, 0)
        assert store.check() == []


def test_a_bad_chunk_that_somebody_fills_is_refused_and_stays(home: Home) -> None:
    with home.open() as store:
        fill = store.reserve(chunk(0), LENGTH)
        write(fill, chunk(0), LENGTH, 0, 4)
        home.damage(chunk(0), 0, b"?")
        with pytest.raises(ChunkCorrupt):
            store.verified(chunk(0), 0, 1)
        fill.close()
        assert store.stats().partial == 1


def test_quarantine_is_bounded(home: Home) -> None:
    with home.open() as store:
        for number in range(9):
            put(store, chunk(number), LENGTH)
    for number in range(9):
        home.damage(chunk(number), 0)
    with home.open("next") as store:
        for number in range(9):
            with pytest.raises(ChunkCorrupt):
                store.lease(chunk(number), 0, 1)
        assert store.stats().quarantined == 9
        assert len(os.listdir(home.path / "quarantine")) == 4
        assert store.check() == []
        used = store.stats().used
    with home.open("next") as store:
        assert store.stats().used == used
        assert store.check() == []


def test_a_chunk_corrupt_twice_leaves_one_file(home: Home) -> None:
    for boot in ("one", "two", "three"):
        with home.open(boot) as store:
            if boot != "one":
                with pytest.raises(ChunkCorrupt):
                    store.lease(chunk(0), 0, 1)
            put(store, chunk(0), LENGTH)
            assert store.check() == []
        home.damage(chunk(0), 0)
    assert len(os.listdir(home.path / "quarantine")) == 1


def test_a_chunk_under_another_chunks_name_is_not_served(home: Home) -> None:
    with home.open() as store:
        put(store, chunk(0), LENGTH)
        put(store, chunk(1), LENGTH)
    os.rename(home.file(chunk(1)), home.file(chunk(0)))
    with home.open() as store, pytest.raises(ChunkCorrupt):
        store.lease(chunk(0), 0, 1)


# files


def test_a_file_is_sparse_and_true_to_offsets(home: Home) -> None:
    with home.open() as store:
        put_blocks(store, chunk(0), CHUNK_SIZE, (1000, 1001))
        path = home.file(chunk(0))
        assert path.name.endswith(".partial")
        assert path.stat().st_size == FILE_SIZE
        assert path.stat().st_blocks * 512 <= 8 * BLOCK_SIZE
        assert store.stats().used == path.stat().st_blocks * 512
        data = content(chunk(0), CHUNK_SIZE)[1000 * BLOCK_SIZE : 1001 * BLOCK_SIZE]
        assert path.read_bytes()[1000 * BLOCK_SIZE : 1001 * BLOCK_SIZE] == data


def test_files_that_are_deleted_from_outside_are_absent(home: Home) -> None:
    with home.open() as store:
        put(store, chunk(0), LENGTH)
        put_blocks(store, chunk(1), LENGTH, (0, 1))
    with home.open() as store:
        home.file(chunk(0)).unlink()
        home.file(chunk(1)).unlink()
        assert [problem.reason for problem in store.check()] == ["in the index, not on disk"] * 2
        assert store.lease(chunk(0), 0, 1) is None
        assert store.lease(chunk(1), 0, 1) is None
        put(store, chunk(0), LENGTH)
        put(store, chunk(1), LENGTH)
        assert holds(store, chunk(1), LENGTH, 0, LENGTH)
        assert store.check() == []


def test_a_file_cut_short_is_deleted_at_open(home: Home) -> None:
    with home.open() as store:
        put(store, chunk(0), LENGTH)
    os.truncate(home.file(chunk(0)), LENGTH)
    with home.open() as store:
        assert store.stats().chunks == 0
        assert store.check() == []


def test_check_finds_what_is_wrong(home: Home) -> None:
    with home.open() as store:
        put(store, chunk(0), LENGTH)
        put_blocks(store, chunk(1), LENGTH, (0, 4))
        stray = home.file(chunk(0)).with_name("stray")
        stray.touch()
        foreign = home.file(chunk(0)).with_name(home.file(chunk(0)).name.replace("-0", "-77"))
        foreign.touch()
        home.damage(chunk(1), BLOCK_SIZE)
        home.damage(chunk(0), 0)
        found = {problem.path.rpartition("/")[2][-5:]: problem.reason for problem in store.check()}
        assert "not a chunk's name" in found["stray"]
        assert "not in the index" in found[foreign.name[-5:]]
        assert "the first is 1" in found["rtial"]
        assert len(found) == 4
        assert len(store.check(verify=False)) == 3  # the foreign one is in the wrong folder as well


# limits


def test_the_order_of_eviction_outlives_a_restart(home: Home) -> None:
    with home.open() as store:
        for number in (3, 1, 2, 0):
            put(store, chunk(number), CHUNK_SIZE)
            path = home.file(chunk(number))
            os.utime(path, ns=(1, 1 + 1000 * [3, 1, 2, 0].index(number)))
    with home.open(limits=Limits(5 * FILE_SIZE, high_percent=90, low_percent=65)) as store:
        put(store, chunk(9), CHUNK_SIZE)
        assert [n for n in range(4) if not holds(store, chunk(n), CHUNK_SIZE, 0, 1)] == [1, 3]


def test_a_smaller_capacity_is_reached_by_eviction(home: Home) -> None:
    with home.open() as store:
        for number in range(10):
            put(store, chunk(number), CHUNK_SIZE)
    with home.open(limits=Limits(4 * FILE_SIZE)) as store:
        put(store, chunk(20), CHUNK_SIZE)
        assert store.stats().used <= 4 * FILE_SIZE
        assert store.check() == []


def test_partial_chunks_beyond_the_slots_replace_the_oldest(home: Home) -> None:
    with home.open(limits=Limits(64 << 20)) as store:
        for number in range(300):
            put_blocks(store, chunk(number), BLOCK_SIZE * 2, (0, 1))
        assert store.stats().partial == 256
        assert [n for n in range(300) if holds(store, chunk(n), BLOCK_SIZE * 2, 0, 1)] == list(range(44, 300))
        assert store.check() == []


def test_few_descriptors_are_kept_open(home: Home) -> None:
    with home.open(limits=Limits(256 << 20, open_files=5)) as store:
        before = len(os.listdir("/proc/self/fd"))
        for number in range(50):
            put(store, chunk(number), BLOCK_SIZE)
            assert holds(store, chunk(number), BLOCK_SIZE, 0, BLOCK_SIZE)
        assert len(os.listdir("/proc/self/fd")) <= before + 5


def test_closing_leaves_no_descriptor(home: Home) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with home.open() as store:
        put(store, chunk(0), BLOCK_SIZE)
        fill = store.reserve(chunk(1), LENGTH)
        write(fill, chunk(1), LENGTH, 0, 2)
        lease = fill.lease()
        store.evict(chunk(0))
        fill.close()
        lease.close()
        assert holds(store, chunk(1), LENGTH, 0, 1)
    del store, fill, lease  # they hold the presence map
    assert len(os.listdir("/proc/self/fd")) == before


# whose store


def test_another_clusters_store_is_refused(home: Home) -> None:
    with home.open() as store:
        put(store, chunk(0), LENGTH)
    with pytest.raises(ConfigError, match="belongs to cluster c"), home.open(cluster="other"):
        pass
    with home.open() as store:
        assert holds(store, chunk(0), LENGTH, 0, LENGTH)


def test_a_store_is_open_once(home: Home) -> None:
    with home.open(), pytest.raises(StoreFailed, match="one process may have it open"), home.open():
        pass
    with home.open():
        pass


def test_chunks_without_an_identity_are_refused(home: Home) -> None:
    with home.open() as store:
        put(store, chunk(0), LENGTH)
    (home.path / "identity.json").unlink()
    with pytest.raises(ConfigError, match="no identity"), home.open():
        pass


def test_a_path_that_cannot_be_a_store_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "store").write_text("a file")
    with pytest.raises(StoreFailed, match="opening"), Home(tmp_path).open():
        pass


def test_a_footer_that_a_power_cut_lost_makes_no_zeros_of_gone_blocks(home: Home) -> None:
    """The name was kept, the footer is that of the partial chunk."""
    with home.open() as store:
        put_blocks(store, chunk(0), LENGTH, (0, 5), (8, 64))
        before = home.file(chunk(0)).read_bytes()[FOOTER_AT:]
        lacking(store, (5, 8))
    home.damage(chunk(0), FOOTER_AT, before)
    with home.open("next") as store, pytest.raises(ChunkCorrupt):
        store.lease(chunk(0), 4 * BLOCK_SIZE, 6 * BLOCK_SIZE)
    with home.open("next") as store:
        assert store.stats().chunks == 0
