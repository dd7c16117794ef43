"""Listings: byte order of keys, whole, from anywhere."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.rigs.places import Place

from forebay_cache.origin.base import Origin

KEYS = [b"A", b"a", b"a-/1", b"a-b", b"a.txt", b"a/b", b"a/b.c/d", b"a/b/c", b"a0", "é/x".encode(), "日".encode()]
TIED = {b"a", b"a/b"}  # a directory cannot hold `a` beside `a/b`


async def keys(origin: Origin, prefix: bytes = b"", start_after: bytes = b"") -> list[bytes]:
    return [found.key async for page in origin.list(prefix, start_after) for found in page]


def fill(place: Place, names: list[bytes]) -> None:
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda name: place.put(name, b"."), names))


@pytest.fixture
def names(place: Place) -> list[bytes]:
    found = [key for key in KEYS if key not in TIED]
    fill(place, found)
    return sorted(found)


async def test_keys_come_in_byte_order(place: Place, names: list[bytes]) -> None:
    assert await keys(place.origin) == names


async def test_only_what_is_below_the_prefix(place: Place, names: list[bytes]) -> None:
    for prefix in (b"a", b"a/", b"a/b", b"a-", b"nothing", "é".encode(), b"A/", b"a//", b"../"):
        assert await keys(place.origin, prefix) == [name for name in names if name.startswith(prefix)]


async def test_a_listing_starts_after_any_key(place: Place, names: list[bytes]) -> None:
    past = "a/b\U0010ffff".encode()
    for after in (b"A", b"a-/1", b"a-0", b"a/", b"a/b.c", b"a/b.c/d", past, b"zzz", "日".encode()):
        assert await keys(place.origin, b"", after) == [name for name in names if name > after]


async def test_prefix_and_start_together(place: Place, names: list[bytes]) -> None:
    after = "a/b.c/\U0010ffff".encode()
    assert await keys(place.origin, b"a/", after) == [n for n in names if n.startswith(b"a/") and n > after]
    assert await keys(place.origin, b"a/", b"b") == []
    assert await keys(place.origin, b"a/", b"A") == [name for name in names if name.startswith(b"a/")]


async def test_common_prefixes_are_sorted_as_keys_are(place: Place, names: list[bytes]) -> None:
    assert await place.origin.prefixes(b"") == [b"a-/", b"a/", "é/".encode()]
    assert await place.origin.prefixes(b"a") == [b"a-/", b"a/"]
    assert await place.origin.prefixes(b"a/") == [b"a/b.c/", b"a/b/"]
    assert await place.origin.prefixes(b"nothing/") == []
    assert await place.origin.prefixes(b"../") == []


async def test_nothing_is_listed_of_nothing(place: Place) -> None:
    assert await keys(place.origin) == []
    assert await place.origin.prefixes(b"") == []


async def test_many_pages_hold_every_key_once(place: Place) -> None:
    names = sorted(f"d{number % 7}/{number:04}".encode() for number in range(1100))
    fill(place, names)
    assert await keys(place.origin) == names
    pages = [page async for page in place.origin.list(b"")]
    assert len(pages) > 1
    assert all(len(page) <= 1000 for page in pages)
    assert await keys(place.origin, b"", names[500]) == names[501:]
