"""A body that breaks off goes on where it stopped, with the same version, or fails loudly. Against a scripted server."""

from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from pydantic import SecretStr
from tests.rigs.scripted import DATA, Reply, Request, Server, part, refusal, scripted

from forebay_cache.contract.config import Credentials, S3Source
from forebay_cache.model.errors import OriginBadAnswer, OriginChanged, OriginError, OriginMissing, OriginUnavailable
from forebay_cache.origin.base import Match
from forebay_cache.origin.limits import OriginLimits, RetryPolicy
from forebay_cache.origin.s3 import S3Origin

KEYS = [b"plain", b"odd//key"]  # obstore's way and aiobotocore's
TRIES = 4
AT_ONCE = RetryPolicy(tries=TRIES, first_s=0, throttled_s=0)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with scripted() as running:
        yield running


@pytest.fixture
async def origin(server: Server) -> AsyncIterator[S3Origin]:
    found = make(server)
    yield found
    await found.aclose()


def make(server: Server, **limits: float) -> S3Origin:
    source = S3Source(bucket="b", endpoint=server.endpoint)
    keys = Credentials(access_key_id="k", secret_access_key=SecretStr("s"))
    return S3Origin(source, keys, OriginLimits(retry=AT_ONCE, **limits))  # type: ignore[arg-type]


async def received(origin: S3Origin, key: bytes, start: int, stop: int, match: Match = Match()) -> bytes:
    async with aclosing(await origin.read(key, start, stop, match)) as body:
        return b"".join([bytes(buffer) async for buffer in body])


def breaks(server: Server, times: int, after: int) -> None:
    def script(request: Request) -> Reply:
        return part(request, sent=after if len(server.requests) <= times else None)

    server.script = script


@pytest.mark.parametrize("key", KEYS)
async def test_a_body_goes_on_where_it_broke_off(server: Server, origin: S3Origin, key: bytes) -> None:
    breaks(server, times=2, after=400_000)
    assert await received(origin, key, 10, 1_000_010, Match("e1")) == DATA[10:1_000_010]
    assert len(server.requests) == 3
    assert server.requests[-1].span(len(DATA))[0] > 10
    assert {request.headers["if-match"] for request in server.requests} == {'"e1"'}


@pytest.mark.parametrize("key", KEYS)
async def test_a_body_that_always_breaks_off_is_an_error_in_the_end(
    server: Server, origin: S3Origin, key: bytes
) -> None:
    breaks(server, times=99, after=0)
    with pytest.raises(OriginBadAnswer):
        await received(origin, key, 0, 1000)
    assert len(server.requests) == TRIES


@pytest.mark.parametrize("key", KEYS)
async def test_a_body_never_goes_on_with_another_version(server: Server, origin: S3Origin, key: bytes) -> None:
    def script(request: Request) -> Reply:
        return part(request, sent=400_000) if len(server.requests) == 1 else part(request, etag="e2")

    server.script = script
    with pytest.raises(OriginChanged):
        await received(origin, key, 0, 1_000_000)
    assert server.requests[1].headers["if-match"] == '"e1"'


@pytest.mark.parametrize("key", KEYS)
async def test_a_store_that_ignores_if_match_is_found_out(server: Server, origin: S3Origin, key: bytes) -> None:
    with pytest.raises(OriginChanged):
        await received(origin, key, 0, 10, Match("another"))
    with pytest.raises(OriginChanged):
        await received(origin, key, 0, 10, Match("e1", size=5))
    assert len(server.requests) == 2


@pytest.mark.parametrize("key", KEYS)
async def test_another_range_than_asked_for_is_no_answer(server: Server, origin: S3Origin, key: bytes) -> None:
    server.script = lambda request: part(Request("GET", request.target, {"range": "bytes=5-14"}))
    with pytest.raises((OriginBadAnswer, OriginUnavailable)):
        await received(origin, key, 0, 10)


@pytest.mark.parametrize("key", KEYS)
async def test_a_body_that_stalls_is_given_up(server: Server, key: bytes) -> None:
    server.script = lambda request: part(request, sent=100_000, stall=True)
    async with aclosing(make(server, idle_s=0.05)) as origin:
        with pytest.raises(OriginUnavailable):
            await received(origin, key, 0, 1_000_000)


@pytest.mark.parametrize("key", KEYS)
async def test_an_answer_that_does_not_come_is_given_up(server: Server, key: bytes) -> None:
    server.script = lambda _: Reply(silent=True)
    async with aclosing(make(server, first_byte_s=0.05)) as origin:
        await origin._clients.bytes()
        await origin._clients.control()
        with pytest.raises(OriginUnavailable, match="deadline"):
            await received(origin, key, 0, 10)


@pytest.mark.parametrize("key", KEYS)
async def test_an_answer_without_what_s3_promises_is_no_answer(server: Server, origin: S3Origin, key: bytes) -> None:
    server.script = lambda _: Reply(200, b"welcome")
    with pytest.raises(OriginError) as caught:
        await received(origin, key, 0, 7)
    assert caught.value.retry


async def test_what_went_meanwhile_is_missing(server: Server, origin: S3Origin) -> None:
    def script(request: Request) -> Reply:
        return part(request, sent=300_000) if len(server.requests) == 1 else refusal(404, "NoSuchKey")

    server.script = script
    with pytest.raises(OriginMissing):
        await received(origin, b"plain", 0, 1_000_000)


async def test_a_closed_body_cannot_be_read(origin: S3Origin) -> None:
    body = await origin.read(b"plain", 0, 10)
    await body.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        await anext(aiter(body))


async def test_connections_are_used_again(server: Server, origin: S3Origin) -> None:
    for start in range(20):
        assert await received(origin, b"plain", start, start + 1000) == DATA[start : start + 1000]
    assert len(server.requests) == 20
    assert server.connections == 1


async def test_bytes_do_not_wait_for_the_control_client(origin: S3Origin) -> None:
    assert await received(origin, b"plain", 0, 10) == DATA[:10]
    assert origin._clients._control is None
    assert (await origin.head(b"plain")).object.etag == "e1"
    assert origin._clients._control is not None
