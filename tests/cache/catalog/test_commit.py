"""Commit records, and what differs between two commits."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from forebay_cache.catalog import commit as commits
from forebay_cache.catalog import leaf as leaves
from forebay_cache.catalog.base import Entry
from forebay_cache.catalog.commit import LeafCommit, LeafName, Record, SourceName, commit_id, decode, diff, encode
from forebay_cache.model.errors import CatalogCorrupt
from forebay_cache.model.ids import Extent, SegmentId

MakeCommit = Callable[[Sequence[Entry]], LeafCommit]
RECORD = Record(
    (LeafName("a" * 64, "00"), LeafName("b" * 64, "ff")),
    (SourceName("p/", "x", "memory"),),
    "c" * 64,
    5,
    2,
    3,
    4,
    5,
    6,
    1,
    ("k",),
)


@pytest.fixture
def small_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaves, "LEAST", 4)
    monkeypatch.setattr(leaves, "MEAN", 10)


def entry(key: bytes, number: int = 0) -> Entry:
    return Entry(
        key, number, 7, f"{number:032x}", Extent(SegmentId(bytes([1 + number % 3]) * 32), 4096 * number, number)
    )


def test_a_record_comes_back_as_it_was() -> None:
    assert decode(RECORD.id, encode(RECORD)) == RECORD
    report = RECORD.report()
    assert (report.id, report.parent, report.files, report.unmountable_first) == (RECORD.id, "c" * 64, 2, ("k",))


def test_a_record_with_any_byte_changed_is_refused() -> None:
    data = encode(RECORD)
    for place in range(0, len(data) - 1, 7):
        bad = bytearray(data)
        bad[place] ^= 1
        with pytest.raises(CatalogCorrupt):
            decode(RECORD.id, bytes(bad))
    for length in range(0, len(data) - 2, 50):
        with pytest.raises(CatalogCorrupt):
            decode(RECORD.id, data[:length])


def test_a_record_of_another_commit_is_refused() -> None:
    with pytest.raises(CatalogCorrupt, match="is that of"):
        decode(commit_id(["d" * 64]), encode(RECORD))


def test_fields_of_a_newer_version_are_ignored() -> None:
    body = encode(RECORD).partition(b"\n")[0]
    newer = json.dumps(json.loads(body) | {"shape": "round"}).encode()
    seal = commits.hashlib.sha256(newer).hexdigest().encode()
    assert decode(RECORD.id, newer + b"\n" + seal + b"\n") == RECORD


def test_the_id_is_that_of_the_leaves_in_order() -> None:
    assert commit_id(["a", "b"]) != commit_id(["b", "a"])
    assert replace(RECORD, parent=None, created_ms=9).id == RECORD.id


@pytest.mark.usefixtures("small_leaves")
@pytest.mark.parametrize("seed", range(8))
def test_the_difference_is_that_of_two_sets(make_commit: MakeCommit, seed: int) -> None:
    print("seed", seed)
    source = random.Random(seed)
    old = {b"%03d" % n: n for n in range(400) if source.random() < 0.9}
    new = dict(old)
    for _ in range(source.choice([0, 1, 5, 100])):
        key = b"%03d" % source.randrange(400)
        if source.random() < 0.5:
            new[key] = source.randrange(1000, 2000)
        else:
            new.pop(key, None)
    one, two = (make_commit([entry(key, n) for key, n in sorted(found.items())]) for found in (old, new))
    found = diff(one, two, limit=1000)
    assert set(found.added_paths) == {key.decode() for key in new.keys() - old.keys()}
    assert set(found.removed_paths) == {key.decode() for key in old.keys() - new.keys()}
    assert set(found.changed_paths) == {key.decode() for key in old.keys() & new.keys() if old[key] != new[key]}
    assert (found.added, found.removed, found.changed) == tuple(
        map(len, (found.added_paths, found.removed_paths, found.changed_paths))
    )


@pytest.mark.usefixtures("small_leaves")
def test_shared_leaves_are_not_looked_at(make_commit: MakeCommit) -> None:
    rows = [entry(b"%04d" % n, n) for n in range(1000)]
    old, new = make_commit(rows), make_commit([*rows[:500], entry(b"0499x", 1), *rows[500:]])
    assert 0 < len(list(new.unshared(old))) < 300
    assert diff(old, new, limit=0).added == 1
    assert diff(old, new, limit=0).added_paths == ()


@pytest.mark.usefixtures("small_leaves")
def test_keys_are_found_in_whichever_leaf_they_lie(make_commit: MakeCommit) -> None:
    rows = [entry(b"%04d" % n, n) for n in range(0, 600, 2)]
    commit = make_commit(rows)
    assert len(commit.record.leaves) > 5
    assert [commit.find(row.key) for row in rows] == rows
    assert list(commit) == rows
    assert [row[0] for row in commit.rows()] == [row.key for row in rows]
    assert commit.segments() == [bytes([n]) * 32 for n in (1, 2, 3)]
    for key in (b"", b"0001", b"9", b"\xff"):
        assert commit.find(key) is None
