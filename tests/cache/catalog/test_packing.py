"""Packing over random listings: invariants that hold for any of them."""

import itertools
import random

import pytest

from forebay_cache.catalog.base import Entry
from forebay_cache.catalog.packing import NOWHERE, PENDING_LIMIT, Packer, Place, fit, unchanged
from forebay_cache.catalog.parts import PartsTable
from forebay_cache.model.ids import BLOCK_SIZE, CHUNK_SIZE, PACKED_SEGMENT_LIMIT, Extent, SegmentId
from forebay_cache.origin.base import OriginObject

HERE, THERE = Place("memory here", b""), Place("memory there", b"salt")
SIZES = (0, 1, 4095, 4096, 4097, 100_000, CHUNK_SIZE - 4096, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, 40 << 20)


class Packed:
    """A packer and all it gave."""

    def __init__(self) -> None:
        self.tables: dict[SegmentId, PartsTable] = {}
        self.entries: list[Entry] = []
        self.packer = Packer(self.put, self.entries.append)

    def put(self, segment: SegmentId, table: bytes) -> None:
        self.tables[segment] = PartsTable(segment, table)


def listing(seed: int, count: int) -> list[OriginObject]:
    print("seed", seed)
    source = random.Random(seed)
    return [
        OriginObject(b"k%06d" % n, source.choice(SIZES), 1000 + n, f"{n:032x}", source.choice([None, f"v{n}"]))
        for n in range(count)
    ]


def packed(objects: list[OriginObject], place: Place = HERE) -> Packed:
    done = Packed()
    for found in objects:
        done.packer.add(found.key, found, place)
    done.packer.close()
    return done


@pytest.mark.parametrize("seed", range(5))
def test_every_object_has_its_part_and_no_small_one_straddles_chunks(seed: int) -> None:
    objects = listing(seed, 700)
    done = packed(objects)
    assert [entry.key for entry in done.entries] == [found.key for found in objects]
    for entry, found in zip(done.entries, objects, strict=True):
        assert (entry.size, entry.mtime_ms, entry.etag, entry.extent.length) == (
            found.size,
            found.mtime_ms,
            found.etag,
            found.size,
        )
        if not found.size:
            assert entry.extent.segment == NOWHERE
            continue
        extent = entry.extent
        part = done.tables[extent.segment].at(extent.offset)
        assert (part.key, part.offset, part.size, part.etag, part.version) == (
            found.key,
            extent.offset,
            found.size,
            found.etag,
            found.version,
        )
        assert extent.offset % BLOCK_SIZE == 0
        if found.size <= CHUNK_SIZE:
            assert extent.offset // CHUNK_SIZE == (extent.offset + found.size - 1) // CHUNK_SIZE


@pytest.mark.parametrize("seed", range(5))
def test_segments_are_whole_blocks_without_overlap_and_bounded(seed: int) -> None:
    done = packed(listing(seed, 700))
    assert len(done.tables) > 2
    for segment, table in done.tables.items():
        parts = [table.part(index) for index in range(len(table))]
        assert table.size == done.packer.sizes[segment]
        assert table.size % BLOCK_SIZE == 0
        assert table.size >= parts[-1].offset + parts[-1].size > table.size - BLOCK_SIZE
        assert all(a.offset + a.size <= b.offset for a, b in itertools.pairwise(parts))
        if parts[0].size > CHUNK_SIZE:
            assert len(parts) == 1
        else:
            assert table.size <= PACKED_SEGMENT_LIMIT


def test_a_large_object_is_the_same_segment_whoever_lists_it() -> None:
    large = OriginObject(b"x/large", CHUNK_SIZE + 1, 5, "e" * 32, "v1")
    alone = packed([large]).entries[0].extent
    among = packed([OriginObject(b"a", 9, 1, "f" * 32), large, OriginObject(b"z", 9, 1, "f" * 32)]).entries[1].extent
    assert alone == among


def test_another_origin_salt_version_or_etag_is_another_segment() -> None:
    found = OriginObject(b"x", CHUNK_SIZE + 1, 5, "e" * 32, "v1")
    others = [
        packed([found], Place("memory elsewhere", b"")),
        packed([found], Place("memory here", b"salt")),
        packed([OriginObject(b"x", CHUNK_SIZE + 1, 5, "e" * 32, "v2")]),
        packed([OriginObject(b"x", CHUNK_SIZE + 1, 5, "d" * 32, "v1")]),
        packed([OriginObject(b"x", CHUNK_SIZE + 2, 5, "e" * 32, "v1")]),
        packed([OriginObject(b"y", CHUNK_SIZE + 1, 5, "e" * 32, "v1")]),
    ]
    ids = {done.entries[0].extent.segment for done in [packed([found]), *others]}
    assert len(ids) == 7


def test_new_files_never_enter_a_segment_that_is_there() -> None:
    first = packed(listing(1, 50))
    second = Packed()
    for entry in first.entries:
        second.packer.keep(entry)
        second.packer.add(entry.key + b"+", OriginObject(entry.key + b"+", 10, 1, "a" * 32), HERE)
    second.packer.close()
    assert [entry for entry in second.entries if not entry.key.endswith(b"+")] == first.entries
    assert not set(second.tables) & set(first.tables)


def test_rows_keep_their_order_over_several_origins() -> None:
    done = Packed()
    for n in range(3000):
        found = OriginObject(b"%05d" % n, 200_000, 1, "a" * 32)
        done.packer.add(found.key, found, (HERE, THERE)[n % 3 == 0])
    done.packer.close()
    assert [entry.key for entry in done.entries] == [b"%05d" % n for n in range(3000)]
    for entry in done.entries:
        place = THERE if int(entry.key) % 3 == 0 else HERE
        assert done.tables[entry.extent.segment].origin == place.origin


def test_unchanged_files_do_not_wait_without_bound_behind_a_new_one() -> None:
    done = Packed()
    done.packer.add(b"a", OriginObject(b"a", 10, 1, "a" * 32), HERE)
    kept = Entry(b"b", 5, 1, "b" * 32, Extent(SegmentId(b"s" * 32), 0, 5))
    for _ in range(PENDING_LIMIT + 1):
        done.packer.keep(kept)
    assert len(done.entries) > PENDING_LIMIT


def test_fit_refuses_what_would_pass_the_limit() -> None:
    assert fit(0, CHUNK_SIZE) == 0
    assert fit(BLOCK_SIZE, CHUNK_SIZE) == CHUNK_SIZE
    assert fit(PACKED_SEGMENT_LIMIT - BLOCK_SIZE, BLOCK_SIZE) == PACKED_SEGMENT_LIMIT - BLOCK_SIZE
    assert fit(PACKED_SEGMENT_LIMIT - BLOCK_SIZE, BLOCK_SIZE + 1) == -1
    assert fit(PACKED_SEGMENT_LIMIT, 1) == -1


@pytest.mark.parametrize(
    ("changes", "strong", "same"),
    [
        ({}, True, True),
        ({}, False, True),
        ({"mtime_ms": 8}, True, True),  # the same bytes written again
        ({"mtime_ms": 8}, False, False),
        ({"size": 4}, True, False),
        ({"etag": "f"}, True, False),
    ],
)
def test_unchanged_needs_the_time_only_where_etags_are_weak(
    changes: dict[str, object], strong: bool, same: bool
) -> None:
    old = Entry(b"k", 3, 7, "e", Extent(NOWHERE, 0, 3))
    fields = {"key": b"k", "size": 3, "mtime_ms": 7, "etag": "e"} | changes
    assert unchanged(old, OriginObject(**fields), strong=strong) is same  # type: ignore[arg-type]


def test_no_etag_is_never_unchanged() -> None:
    assert not unchanged(Entry(b"k", 3, 7, "", Extent(NOWHERE, 0, 3)), OriginObject(b"k", 3, 7, ""), strong=True)
