"""Pages of a commit against the model: a sorted list, read as S3 reads it."""

import random
from collections.abc import Callable, Sequence

import pytest

from forebay_cache.catalog import leaf as leaves
from forebay_cache.catalog.base import Entry
from forebay_cache.catalog.commit import LeafCommit
from forebay_cache.catalog.listing import after
from forebay_cache.model.ids import Extent, SegmentId

MakeCommit = Callable[[Sequence[Entry]], LeafCommit]
AWKWARD = [
    b"a",
    b"a-",
    b"a.txt",
    b"a/b",
    b"a//b",
    b"a/b/",
    b"a/b/c",
    b"a0",
    "ä/ß".encode(),
    b"/",
    b"//",
    b"\xff/\xff",
    b"\xff\xff",
]


@pytest.fixture(autouse=True)
def small_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaves, "LEAST", 1)
    monkeypatch.setattr(leaves, "MEAN", 2)


def commit_of(make_commit: MakeCommit, keys: Sequence[bytes]) -> LeafCommit:
    return make_commit([Entry(key, 0, 0, "", Extent(SegmentId(bytes(32)), 0, 0)) for key in sorted(keys)])


def model(keys: Sequence[bytes], prefix: bytes, delimiter: bytes, start_after: bytes) -> list[bytes]:
    """Keys and common prefixes in order, each once; those that are not greater than `start_after` left out, as are keys
    below a common prefix that is named by it."""
    found = []
    for key in sorted(keys):
        if not key.startswith(prefix):
            continue
        end = key.find(delimiter, len(prefix)) if delimiter else -1
        item = key[: end + len(delimiter)] if end >= 0 else key
        told = item <= start_after if item == key or start_after.endswith(delimiter) else key <= start_after
        if not told and item not in found:
            found.append(item)
    return found


def paged(commit: LeafCommit, prefix: bytes, delimiter: bytes, limit: int, start_after: bytes = b"") -> list[bytes]:
    got: list[bytes] = []
    at: bytes | None = start_after
    while at is not None:
        page = commit.page(prefix, delimiter, at, limit)
        items = sorted([entry.key for entry in page.entries] + list(page.prefixes))
        assert len(items) <= limit
        assert page.next is None or items
        assert [entry.key for entry in page.entries] == sorted(entry.key for entry in page.entries)
        got += items
        at = page.next
    return got


@pytest.mark.parametrize("limit", [1, 2, 3, 1000])
@pytest.mark.parametrize("delimiter", [b"", b"/", b"b", b"//"])
@pytest.mark.parametrize("prefix", [b"", b"a", b"a/", b"a/b", b"a//", b"q", b"\xc3", b"/", b"\xff", b"\xff\xff\xff"])
def test_awkward_keys(make_commit: MakeCommit, prefix: bytes, delimiter: bytes, limit: int) -> None:
    commit = commit_of(make_commit, AWKWARD)
    assert len(commit.record.leaves) > 2
    assert paged(commit, prefix, delimiter, limit) == model(AWKWARD, prefix, delimiter, b"")


@pytest.mark.parametrize("seed", range(20))
def test_random_keys_whatever_the_page_and_the_leaf(make_commit: MakeCommit, seed: int) -> None:
    print("seed", seed)
    source = random.Random(seed)
    letters = [b"a", b"b", b"/", b"-", b".", "é".encode(), b"\xff"]
    keys = list({b"".join(source.choices(letters, k=source.randrange(1, 7))) for _ in range(200)})
    commit = commit_of(make_commit, keys)
    for _ in range(60):
        prefix = b"".join(source.choices(letters, k=source.randrange(4)))
        delimiter = source.choice([b"", b"/", b"/", b"a", b"ab", b"//"])
        assert paged(commit, prefix, delimiter, source.choice([1, 2, 5, 50])) == model(keys, prefix, delimiter, b"")


@pytest.mark.parametrize("seed", range(10))
def test_a_listing_starts_behind_any_key(make_commit: MakeCommit, seed: int) -> None:
    print("seed", seed)
    source = random.Random(seed)
    keys = list({b"".join(source.choices([b"a", b"b", b"c"], k=source.randrange(1, 6))) for _ in range(100)})
    commit = commit_of(make_commit, keys)
    for _ in range(50):
        start, prefix = source.choice([*keys, b"zz", b"aab!"]), source.choice([b"", b"a", b"b"])
        want = [key for key in sorted(keys) if key.startswith(prefix) and key > start]
        assert paged(commit, prefix, b"", 7, start) == want


def test_start_after_a_common_prefix_skips_all_below_it(make_commit: MakeCommit) -> None:
    commit = commit_of(make_commit, [b"a/1", b"a/2", b"b/1", b"c"])
    assert paged(commit, b"", b"/", 10, b"a/") == [b"b/", b"c"]
    assert paged(commit, b"", b"/", 10, b"a/1") == [b"a/", b"b/", b"c"]


def test_a_page_of_nothing(make_commit: MakeCommit) -> None:
    page = commit_of(make_commit, []).page(b"", b"/", b"", 10)
    assert (page.entries, page.prefixes, page.next) == ([], [], None)


@pytest.mark.parametrize(("prefix", "least"), [(b"a", b"b"), (b"a\xff", b"b"), (b"\xff\xff", None), (b"", None)])
def test_after_is_the_least_key_beyond_a_prefix(prefix: bytes, least: bytes | None) -> None:
    assert after(prefix) == least
