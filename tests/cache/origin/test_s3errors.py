"""Each refusal keeps its meaning, whichever client met it. Against a scripted server."""

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr
from tests.rigs.scripted import Reply, Server, refusal, scripted

from forebay_cache.contract.config import Credentials, S3Source
from forebay_cache.model.errors import (
    OriginBadAnswer,
    OriginChanged,
    OriginDenied,
    OriginError,
    OriginMissing,
    OriginThrottled,
    OriginUnavailable,
)
from forebay_cache.origin.base import Match
from forebay_cache.origin.limits import OriginLimits, RetryPolicy
from forebay_cache.origin.s3 import S3Origin
from forebay_cache.origin.s3errors import origin_error

TRIES = 3
SECRET = "do-not-show-this"
CASES = [
    (301, "PermanentRedirect", OriginDenied),
    (400, "AuthorizationHeaderMalformed", OriginDenied),
    (400, "ExpiredToken", OriginDenied),
    (400, "KeyTooLongError", OriginMissing),
    (400, "RequestTimeout", OriginUnavailable),
    (401, "", OriginDenied),
    (403, "AccessDenied", OriginDenied),
    (403, "InvalidObjectState", OriginDenied),
    (403, "", OriginDenied),
    (404, "NoSuchKey", OriginMissing),
    (404, "NoSuchBucket", OriginMissing),
    (404, "", OriginMissing),
    (405, "MethodNotAllowed", OriginMissing),
    (412, "PreconditionFailed", OriginChanged),
    (416, "InvalidRange", OriginChanged),
    (429, "", OriginThrottled),
    (500, "InternalError", OriginUnavailable),
    (502, "", OriginUnavailable),
    (503, "SlowDown", OriginThrottled),
    (503, "ServiceUnavailable", OriginThrottled),
    (504, "", OriginUnavailable),
]


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with scripted() as running:
        yield running


@pytest.fixture
async def origin(server: Server) -> AsyncIterator[S3Origin]:
    source = S3Source(bucket="b", endpoint=server.endpoint)
    keys = Credentials(access_key_id="k", secret_access_key=SecretStr(SECRET))
    found = S3Origin(source, keys, OriginLimits(retry=RetryPolicy(tries=TRIES, first_s=0, throttled_s=0)))
    yield found
    await found.aclose()


@pytest.mark.parametrize(("status", "code", "meaning"), CASES)
@pytest.mark.parametrize("key", [b"plain", b"odd//key", b"code/404/status code: 404"])
async def test_a_refused_read(
    server: Server, origin: S3Origin, key: bytes, status: int, code: str, meaning: type[OriginError]
) -> None:
    server.script = lambda _: refusal(status, code)
    with pytest.raises(OriginError) as caught:
        await origin.read(key, 0, 10)
    assert type(caught.value) is meaning
    assert len(server.requests) == (TRIES if meaning.retry else 1)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    "change",
    [
        {"Content-Range": "bytes 1-10/100"},
        {"Content-Range": "nonsense"},
        {"Last-Modified": "yesterday"},
        {"ETag": ""},
    ],
    ids=str,
)
@pytest.mark.parametrize("key", [b"plain", b"odd//key"])
async def test_an_answer_to_something_else_is_a_bad_answer(
    server: Server, origin: S3Origin, key: bytes, change: dict[str, str]
) -> None:
    right = {"Content-Range": "bytes 0-9/100", "Last-Modified": "Tue, 01 Sep 2026 10:00:00 GMT", "ETag": '"e"'}
    server.script = lambda _: Reply(206, bytes(10), {**right, **change}, sent=10)
    with pytest.raises(OriginBadAnswer):
        await origin.read(key, 0, 10, Match(etag="e"))
    assert len(server.requests) == TRIES


async def test_a_page_in_place_of_an_object_is_a_bad_answer(server: Server, origin: S3Origin) -> None:
    server.script = lambda _: Reply(200, b"<html>log in</html>", {"Content-Type": "text/html"})
    for key in (b"plain", b"odd//key"):
        with pytest.raises(OriginBadAnswer):
            await origin.read(key, 0, 10, Match(etag="e"))


@pytest.mark.parametrize(("status", "code", "meaning"), CASES)
async def test_a_refused_listing(
    server: Server, origin: S3Origin, status: int, code: str, meaning: type[OriginError]
) -> None:
    server.script = lambda _: refusal(status, code)
    with pytest.raises(OriginError) as caught:
        await anext(aiter(origin.list(b"")))
    assert type(caught.value) is meaning
    assert len(server.requests) == (TRIES if meaning.retry else 1)


@pytest.mark.parametrize(
    ("status", "meaning"),
    [(404, OriginMissing), (403, OriginDenied), (412, OriginChanged), (503, OriginThrottled), (500, OriginUnavailable)],
)
async def test_a_refused_head(server: Server, origin: S3Origin, status: int, meaning: type[OriginError]) -> None:
    server.script = lambda _: refusal(status)
    with pytest.raises(OriginError) as caught:
        await origin.head(b"k")
    assert type(caught.value) is meaning


async def test_a_retry_that_helps_is_not_seen(server: Server, origin: S3Origin) -> None:
    listing = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
    server.script = lambda _: refusal(503, "SlowDown") if len(server.requests) < TRIES else Reply(200, listing)
    assert await origin.prefixes(b"") == []
    assert len(server.requests) == TRIES


@pytest.mark.parametrize(
    "body",
    [
        b"<html>log in, please",
        b"<html><body>log in</body></html>",
        b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        b"\0\1\xff",
        b"",
        b"{}",
    ],
)
async def test_what_is_no_listing_is_never_an_empty_one(server: Server, origin: S3Origin, body: bytes) -> None:
    server.script = lambda _: Reply(200, body)
    with pytest.raises(OriginError) as caught:
        await origin.prefixes(b"")
    assert caught.value.retry
    with pytest.raises(OriginError) as caught:
        await anext(aiter(origin.list(b"")), None)
    assert caught.value.retry


async def test_a_listing_out_of_order_is_refused(server: Server, origin: S3Origin) -> None:
    entry = "<Contents><Key>{}</Key><LastModified>2026-01-01T00:00:00Z</LastModified><Size>1</Size></Contents>"
    entries = "".join(entry.format(key) for key in ("b", "a"))
    listing = f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"
    server.script = lambda _: Reply(200, listing.encode())
    with pytest.raises(OriginBadAnswer, match="byte order"):
        await anext(aiter(origin.list(b"")))


def test_a_missing_file_of_our_own_is_not_a_missing_object() -> None:
    assert type(origin_error(FileNotFoundError(2, "No such file", "/etc/ca.pem"), "object")) is OriginUnavailable


def test_a_message_is_short() -> None:
    assert len(str(origin_error(OSError("x" * 5000 + "\nmore"), "object"))) < 300
