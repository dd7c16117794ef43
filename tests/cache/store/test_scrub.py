"""Decay that only the disk knows of: found by reading past the page cache, quarantined, never served again."""

import os
import pathlib
from collections.abc import Iterator
from contextlib import closing

import pytest
from tests.rigs.chunks import KIB, chunk, holds, put, read

from forebay_cache.model.ids import BLOCK_SIZE, CHUNK_SIZE, ChunkId
from forebay_cache.store.disk import DiskStore
from forebay_cache.store.layout import FOOTER_AT, SUMS_AT, complete_name
from forebay_cache.store.ledger import Limits

LENGTH = 1300 * KIB


@pytest.fixture
def store(tmp_path: pathlib.Path) -> Iterator[DiskStore]:
    path = str(tmp_path / "store")
    with closing(DiskStore.open(path, Limits(256 << 20), cluster_uid="c", boot_id="b")) as made:
        yield made


@pytest.fixture
def file(tmp_path: pathlib.Path, store: DiskStore) -> pathlib.Path:
    put(store, chunk(0), LENGTH)
    put(store, chunk(1), LENGTH)
    return path_of(tmp_path, chunk(0))


def path_of(tmp_path: pathlib.Path, name: ChunkId) -> pathlib.Path:
    return tmp_path / "store" / "chunks" / complete_name(name)


def scrubbed(store: DiskStore) -> list[tuple[ChunkId, bool]]:
    cursor, seen = -1, []
    while found := store.scrub(cursor):
        cursor = found.cursor
        seen.append((found.chunk, found.good))
    return seen


@pytest.mark.parametrize(
    "at",
    [0, LENGTH - 1, 1 << 20, SUMS_AT, SUMS_AT + (LENGTH // BLOCK_SIZE) * 4 - 1, FOOTER_AT, FOOTER_AT + 40],
)
def test_one_wrong_bit_is_found_though_the_boot_has_verified_the_chunk(
    store: DiskStore, file: pathlib.Path, at: int
) -> None:
    assert holds(store, chunk(0), LENGTH, 0, LENGTH)
    with open(file, "r+b") as raw:  # in place, so that no block is used that was not counted
        raw.seek(at)
        wrong = bytes([raw.read(1)[0] ^ 4])
        raw.seek(at)
        raw.write(wrong)
    assert scrubbed(store) == [(chunk(0), False), (chunk(1), True)]
    assert store.stats().quarantined == 1
    assert not holds(store, chunk(0), LENGTH, 0, LENGTH)
    put(store, chunk(0), LENGTH)
    assert {good for _, good in scrubbed(store)} == {True}
    assert store.check() == []


def test_what_lies_beyond_the_chunk_is_nobodys(store: DiskStore, file: pathlib.Path) -> None:
    with open(file, "r+b") as raw:
        raw.seek(CHUNK_SIZE - 1)
        raw.write(b"x")
    assert scrubbed(store) == [(chunk(0), True), (chunk(1), True)]
    with open(file, "r+b") as raw:
        os.truncate(raw.fileno(), CHUNK_SIZE - BLOCK_SIZE)
    assert scrubbed(store)[0] == (chunk(0), False), "a file that lost its end"


def test_a_reader_keeps_its_lease_on_what_is_quarantined(store: DiskStore, file: pathlib.Path) -> None:
    lease = store.lease(chunk(0), 0, LENGTH)
    assert lease is not None
    with open(file, "r+b") as raw:
        raw.write(b"wrong")
    assert scrubbed(store)[0] == (chunk(0), False)
    with closing(lease):
        assert len(read(lease, 0, LENGTH)) == LENGTH


def test_another_chunks_file_under_this_name_is_bad(
    store: DiskStore, file: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    file.write_bytes(path_of(tmp_path, chunk(1)).read_bytes())
    assert scrubbed(store) == [(chunk(0), False), (chunk(1), True)]


def test_a_file_that_somebody_deleted_is_passed_over(store: DiskStore, file: pathlib.Path) -> None:
    file.unlink()
    assert scrubbed(store) == [(chunk(1), True)]
    store.evict(chunk(0))
