"""HEAD and GET: the very bytes that are meant, or an error that says what became of them."""

import asyncio
import random
from contextlib import aclosing

import pytest
from tests.rigs.places import Place

from forebay_cache.model.errors import OriginChanged, OriginMissing
from forebay_cache.origin.base import Match, Origin, OriginObject

KEYS = [
    "plain/k.jpg",
    "a b",
    " a",
    "a ",
    "a+b",
    "a%20b",
    "%2e",
    "100%",
    "ü/ß",
    "e\u0301",
    "日本/写真.jpg",
    "q?x=1&y#z",
    "code/404/x",
    "<&>\"'",
    "a\\b",
    "a\tb",
    "a\nb",
    "\u007f",
    "\u0085\u2028",
    "~^`|{}[]$!*;:@,=",
    "...",
    ".hidden",
    "a/...",
    "a//b",
    "/lead",
    "trail/",
    "x/../y",
    "x/./y",
    "..",
    ".",
]


async def bytes_of(origin: Origin, key: bytes, start: int, stop: int, match: Match = Match()) -> bytes:
    async with aclosing(await origin.read(key, start, stop, match)) as body:
        return b"".join([bytes(buffer) async for buffer in body])


async def listed(origin: Origin, prefix: bytes = b"") -> list[OriginObject]:
    return [found async for page in origin.list(prefix) for found in page]


async def test_every_key_is_sent_as_it_is(place: Place) -> None:
    names = sorted(name.encode() for name in KEYS if place.holds(name.encode()))
    for name in names:
        place.put(name, b"the bytes of " + name)
    found = await listed(place.origin)
    assert [one.key for one in found] == names
    for one in found:
        match = Match(one.etag, size=one.size)
        assert (await place.origin.head(one.key, match)).object.key == one.key
        assert await bytes_of(place.origin, one.key, 0, one.size, match) == b"the bytes of " + one.key


async def test_a_listing_and_a_head_agree(place: Place) -> None:
    place.put(b"a/b", b"12345")
    (found,) = await listed(place.origin)
    assert found == (await place.origin.head(b"a/b")).object
    assert found.size == 5
    assert found.etag
    assert '"' not in found.etag


async def test_ranges(place: Place) -> None:
    place.put(b"k", b"0123456789")
    for start, stop in ((0, 10), (0, 1), (3, 7), (9, 10)):
        assert await bytes_of(place.origin, b"k", start, stop) == b"0123456789"[start:stop]


async def test_an_empty_object_can_be_read(place: Place) -> None:
    place.put(b"k", b"")
    assert await bytes_of(place.origin, b"k", 0, 0) == b""


async def test_a_body_tells_its_object(place: Place) -> None:
    place.put(b"k", b"0123456789")
    async with aclosing(await place.origin.read(b"k", 2, 4)) as body:
        assert body.head.object == (await place.origin.head(b"k")).object


async def test_many_megabytes_arrive_in_order(place: Place) -> None:
    data = random.Random(7).randbytes(9 << 20)
    place.put(b"big", data)
    assert await bytes_of(place.origin, b"big", 1 << 20, 9 << 20) == data[1 << 20 :]


@pytest.mark.parametrize("name", [b"k", b"a//odd"])
async def test_what_was_overwritten_is_never_read_as_what_it_was(place: Place, name: bytes) -> None:
    if not place.holds(name):
        pytest.skip(f"a directory holds no {name!r}")
    place.put(name, b"before")
    old = (await place.origin.head(name)).object
    place.put(name, b"after!!")
    for match in (Match(old.etag), Match(size=old.size), Match(old.etag, size=old.size)):
        with pytest.raises(OriginChanged):
            await place.origin.head(name, match)
        with pytest.raises(OriginChanged):
            await place.origin.read(name, 0, old.size, match)
    assert await bytes_of(place.origin, name, 0, 7) == b"after!!"


async def test_a_range_past_the_end_means_that_the_object_shrank(place: Place) -> None:
    place.put(b"k", b"0123456789")
    for start in (5, 20):
        with pytest.raises(OriginChanged):
            await place.origin.read(b"k", start, 21)


async def test_what_is_not_there_is_missing(place: Place) -> None:
    place.put(b"k", b"1")
    for key in (b"none", b"none//at all", b"no/../ne", b"\xff\xfe", b"", b"k/below"):
        with pytest.raises(OriginMissing):
            await place.origin.head(key)
        with pytest.raises(OriginMissing):
            await place.origin.read(key, 0, 1)


async def test_what_was_deleted_is_missing(place: Place) -> None:
    place.put(b"k", b"1")
    match = Match((await place.origin.head(b"k")).object.etag)
    place.delete(b"k")
    with pytest.raises(OriginMissing):
        await place.origin.head(b"k", match)
    with pytest.raises(OriginMissing):
        await place.origin.read(b"k", 0, 1, match)


async def test_abandoned_bodies_hold_nothing(place: Place) -> None:
    place.put(b"k", bytes(3 << 20))
    for _ in range(100):
        body = await place.origin.read(b"k", 0, 3 << 20)
        await body.aclose()
        await body.aclose()
    assert len(await bytes_of(place.origin, b"k", 0, 3 << 20)) == 3 << 20


async def test_a_cancelled_reader_leaves_the_origin_usable(place: Place) -> None:
    place.put(b"k", bytes(3 << 20))
    readers = [asyncio.ensure_future(bytes_of(place.origin, b"k", 0, 3 << 20)) for _ in range(80)]
    await asyncio.sleep(0)
    for reader in readers:
        reader.cancel()
    ended = await asyncio.gather(*readers, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ended)
    assert len(await bytes_of(place.origin, b"k", 0, 3 << 20)) == 3 << 20


async def test_an_identity_is_stable(place: Place) -> None:
    assert place.origin.identity
    assert place.origin.identity in repr(place.origin)
