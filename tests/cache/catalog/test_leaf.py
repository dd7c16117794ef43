"""Leaves: round trip, look-up, cuts."""

import hashlib
import itertools
import random

import pytest

from forebay_cache.catalog import leaf as leaves
from forebay_cache.catalog.base import Entry
from forebay_cache.catalog.leaf import Draft, Leaf
from forebay_cache.model.errors import CatalogCorrupt
from forebay_cache.model.ids import Extent, SegmentId

ETAGS = (
    "",
    "x",
    "d41d8cd98f00b204e9800998ecf8427e",
    "d41d8cd98f00b204e9800998ecf8427e-12",
    "D41D8CD98F00B204E9800998ECF8427E",
)
ODD = (*ETAGS, "d41d8cd98f00b204e9800998ecf8427e-0", "d41d8cd98f00b204e9800998ecf8427e-123456789", "ü", '"q"')


def entries(count: int, seed: int = 1) -> list[Entry]:
    print("seed", seed)
    source = random.Random(seed)
    keys = sorted({source.randbytes(source.randrange(1, 30)) for _ in range(count)})
    return [
        Entry(
            key,
            size := source.randrange(1 << 42),
            source.randrange(-(1 << 40), 1 << 45),
            source.choice(ODD),
            Extent(SegmentId(source.choice([b"a", b"b", b"c"]) * 32), source.randrange(1 << 50), size),
        )
        for key in keys
    ]


def made(rows: list[Entry]) -> Leaf:
    draft = Draft()
    for row in rows:
        draft.add(row)
    name, data = draft.encode()
    assert name == hashlib.sha256(data).hexdigest()
    assert draft.first == rows[0].key
    return Leaf(name, data)


@pytest.mark.parametrize("count", [1, 2, 15, 17, 3000])
def test_what_went_in_comes_out_in_order(count: int) -> None:
    rows = entries(count)
    leaf = made(rows)
    assert list(leaf.entries()) == rows
    assert [leaf.entry(index) for index in range(leaf.count)] == rows
    for start in (0, 1, len(rows) // 2, len(rows) - 1, len(rows)):
        assert list(leaf.entries(start)) == rows[start:]
    assert list(leaf.rows()) == [(r.key, r.size, r.mtime_ms, r.extent.segment, r.extent.offset) for r in rows]


def test_a_key_is_found_and_its_neighbours_are_not() -> None:
    rows = entries(500)
    leaf, known = made(rows), {row.key for row in rows}
    for row in rows:
        assert leaf.find(row.key) == row
        for other in (row.key + b"\0", row.key[:-1]):
            assert (leaf.find(other) is not None) is (other in known)


def test_keys_must_rise() -> None:
    draft, row = Draft(), entries(1)[0]
    draft.add(row)
    with pytest.raises(ValueError, match="not sorted"):
        draft.add(row)


@pytest.mark.parametrize("data", [b"", b"fbleaf1\n", bytes(64)])
def test_what_is_no_leaf_is_refused(data: bytes) -> None:
    with pytest.raises(CatalogCorrupt):
        Leaf("x", data)


def cuts(keys: list[bytes]) -> list[bytes]:
    draft, found = Draft(), []
    for key in keys:
        draft.add(Entry(key, 1, 1, "", Extent(SegmentId(bytes(32)), 0, 1)))
        if draft.cut_behind(key):
            found.append(key)
            draft = Draft()
    return found


def test_an_insertion_moves_only_the_cuts_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaves, "LEAST", 20)
    monkeypatch.setattr(leaves, "MEAN", 100)
    monkeypatch.setattr(leaves, "MOST", 500)
    keys = [b"photos/%06d.jpg" % n for n in range(20_000)]
    before = cuts(keys)
    after = cuts(sorted([*keys, b"photos/010000a.jpg"]))
    assert 100 < len(before) < 300
    assert len(set(before) ^ set(after)) <= 6
    sizes = [keys.index(b) - keys.index(a) for a, b in itertools.pairwise(before)]
    assert max(sizes) <= 500
    assert min(sizes) >= 20


def test_a_leaf_weighs_each_segment_in_whole_blocks() -> None:
    one, other = SegmentId(b"a" * 32), SegmentId(b"b" * 32)
    sizes = [(0, one), (1, one), (4096, one), (4097, one), (5, other)]
    rows = [Entry(b"%d" % n, size, 0, "", Extent(segment, 0, size)) for n, (size, segment) in enumerate(sizes)]
    assert list(made(rows).weights()) == [(one, 4 * 4096, 4097), (other, 4096, 5)]
