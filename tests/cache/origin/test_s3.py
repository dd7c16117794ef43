"""What only S3 has: headers, versions, credentials of every kind, throttling. On a real store."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress

import pytest
from pydantic import SecretStr
from tests.rigs.bucket import bucket, refused
from tests.rigs.places import S3Place, keys_of
from tests.rigs.rgw import Gateway

from forebay_cache.contract.config import Credentials, S3Source
from forebay_cache.model.errors import OriginDenied, OriginMissing, OriginThrottled, OriginUnavailable
from forebay_cache.origin.base import Match
from forebay_cache.origin.limits import OriginLimits, RetryPolicy
from forebay_cache.origin.s3 import S3Origin, identity_of
from forebay_cache.origin.s3clients import LOOK_AGAIN_S

rgw = pytest.mark.rgw
NOBODYS = Credentials(access_key_id="nobody", secret_access_key=SecretStr("nothing"))
AT_ONCE = OriginLimits(retry=RetryPolicy(tries=2, first_s=0, throttled_s=0))


async def bytes_of(origin: S3Origin, key: bytes, size: int, match: Match = Match()) -> bytes:
    async with aclosing(await origin.read(key, 0, size, match)) as body:
        return b"".join([bytes(buffer) async for buffer in body])


@pytest.fixture
async def place(gateway: Gateway) -> AsyncIterator[S3Place]:
    found = S3Place(gateway)
    yield found
    await found.origin.aclose()


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's own credentials are none of the tests' business."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@rgw
@pytest.mark.parametrize("key", [b"k.jpg", b"odd//k"])
async def test_the_headers_of_an_object_come_back(place: S3Place, key: bytes) -> None:
    given = {
        "ContentType": "image/jpeg",
        "ContentEncoding": "zstd",
        "ContentDisposition": 'attachment; filename="a"',
        "ContentLanguage": "de",
        "CacheControl": "max-age=5",
        "Metadata": {"Camera": "one", "content-type": "not this"},
    }
    place.put(key, b"12345", given)
    head = await place.origin.head(key)
    async with aclosing(await place.origin.read(key, 1, 3)) as body:
        assert body.head == head
    assert head.headers == {
        "content-type": "image/jpeg",
        "content-encoding": "zstd",
        "content-disposition": 'attachment; filename="a"',
        "content-language": "de",
        "cache-control": "max-age=5",
        "x-amz-meta-camera": "one",
        "x-amz-meta-content-type": "not this",
    }


@rgw
@pytest.mark.parametrize("key", [b"k", b"odd//k"])
async def test_a_version_is_read_for_ever(place: S3Place, key: bytes) -> None:
    versioning = {"Status": "Enabled"}
    place.client.put_bucket_versioning(Bucket=place.bucket, VersioningConfiguration=versioning)
    place.put(key, b"first")
    old = (await place.origin.head(key)).object
    place.put(key, b"second")
    place.delete(key)
    match = Match(old.etag, old.version, old.size)
    assert old.version
    assert await bytes_of(place.origin, key, 5, match) == b"first"
    assert (await place.origin.head(key, match)).object == old
    with pytest.raises(OriginMissing):
        await place.origin.head(key)
    with pytest.raises(OriginMissing):
        await place.origin.read(key, 0, 5)


@rgw
async def test_an_unversioned_object_has_no_version(place: S3Place) -> None:
    place.put(b"k", b"1")
    assert (await place.origin.head(b"k")).object.version is None
    async with aclosing(await place.origin.read(b"k", 0, 1)) as body:
        assert body.head.object.version is None


@rgw
async def test_without_credentials_a_public_bucket_is_read_and_a_private_one_is_not(place: S3Place) -> None:
    place.put(b"k", b"12345")
    async with aclosing(S3Origin(place.source, None, AT_ONCE)) as anonymous:
        with pytest.raises(OriginDenied):
            await anonymous.read(b"k", 0, 5)
        with pytest.raises(OriginDenied):
            await anonymous.prefixes(b"")
        place.client.put_bucket_policy(Bucket=place.bucket, Policy=json.dumps(public(place.bucket)))
        assert await bytes_of(anonymous, b"k", 5) == b"12345"
        assert [found.key async for page in anonymous.list(b"") for found in page] == [b"k"]


@rgw
async def test_the_machines_own_credentials_may_come_late(
    place: S3Place, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.put(b"k", b"12345")
    moment = 0.0
    async with aclosing(S3Origin(place.source, None, AT_ONCE, now=lambda: moment)) as origin:
        with pytest.raises(OriginDenied):
            await origin.read(b"k", 0, 5)
        with pytest.raises(OriginDenied):
            await origin.prefixes(b"")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", gateway.access_key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", gateway.secret_key)
        with pytest.raises(OriginDenied):
            await origin.read(b"k", 0, 5)
        moment += LOOK_AGAIN_S
        with pytest.raises(OriginDenied):
            await origin.read(b"k", 0, 5)  # asked as nobody, but it makes us look
        assert await bytes_of(origin, b"k", 5) == b"12345"
        assert await origin.prefixes(b"") == []


def public(bucket: str) -> dict[str, object]:
    everyone = {"Effect": "Allow", "Principal": {"AWS": ["*"]}}
    return {
        "Version": "2012-10-17",
        "Statement": [
            {**everyone, "Action": ["s3:GetObject"], "Resource": [f"arn:aws:s3:::{bucket}/*"]},
            {**everyone, "Action": ["s3:ListBucket"], "Resource": [f"arn:aws:s3:::{bucket}"]},
        ],
    }


@rgw
@pytest.mark.parametrize(("name", "secret"), [("nobody", "x"), ("", "wrong-secret")])
async def test_wrong_credentials_are_denied_and_never_shown(
    place: S3Place, gateway: Gateway, name: str, secret: str
) -> None:
    place.put(b"k", b"1")
    wrong = Credentials(access_key_id=name or gateway.access_key, secret_access_key=SecretStr(secret))
    async with aclosing(S3Origin(place.source, wrong, AT_ONCE)) as origin:
        for call in (origin.read(b"k", 0, 1), origin.read(b"odd//k", 0, 1), origin.head(b"k"), origin.prefixes(b"")):
            with pytest.raises(OriginDenied) as caught:
                await call
            assert secret == "x" or secret not in str(caught.value) + repr(origin)


@rgw
async def test_the_environments_credentials_are_used(
    place: S3Place, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.put(b"k", b"12345")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", gateway.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", gateway.secret_key)
    async with aclosing(S3Origin(place.source, None, AT_ONCE)) as origin:
        assert await bytes_of(origin, b"k", 5) == b"12345"
        assert (await origin.head(b"k")).object.size == 5


@rgw
async def test_given_credentials_beat_the_environments(
    place: S3Place, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.put(b"k", b"12345")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "not-these")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    async with aclosing(S3Origin(place.source, keys_of(gateway), AT_ONCE)) as origin:
        assert await bytes_of(origin, b"k", 5) == b"12345"
        assert (await origin.head(b"k")).object.size == 5


@rgw
async def test_a_bucket_that_is_not_there_is_missing(gateway: Gateway) -> None:
    source = S3Source(bucket="no-such-bucket", endpoint=gateway.endpoint)
    async with aclosing(S3Origin(source, keys_of(gateway), AT_ONCE)) as origin:
        with pytest.raises(OriginMissing):
            await origin.read(b"k", 0, 1)
        with pytest.raises(OriginMissing):
            await anext(aiter(origin.list(b"")))


@rgw
async def test_a_throttled_store_is_asked_less(place: S3Place, gateway: Gateway) -> None:
    place.put(b"k", bytes(1 << 20))
    keys, limits = keys_of(gateway), OriginLimits(concurrency=32, retry=RetryPolicy(tries=1))
    async with aclosing(S3Origin(place.source, keys, limits)) as origin:
        gateway.set("rgw_max_concurrent_requests", "1")
        try:
            ended = await asyncio.gather(*(bytes_of(origin, b"k", 1 << 20) for _ in range(32)), return_exceptions=True)
        finally:
            gateway.set("rgw_max_concurrent_requests", "1024")
    kinds = {type(end) for end in ended}
    if OriginThrottled not in kinds:
        pytest.skip(f"this gateway did not throttle: {kinds}")
    assert kinds <= {bytes, OriginThrottled}
    assert origin.held is not None


async def test_a_prefix_that_is_refused_is_held_back_and_no_other() -> None:
    with bucket() as store:
        store.objects = {"hot/k": b"12345", "cold/k": b"12345"}
        store.breaks = {"hot/k": refused(503, "SlowDown")}
        source = S3Source(bucket="b", endpoint=store.endpoint)
        async with aclosing(S3Origin(source, NOBODYS, AT_ONCE)) as origin:
            with pytest.raises(OriginThrottled):
                await bytes_of(origin, b"hot/k", 5)
            assert origin.held is not None
            store.breaks = {}
            assert [await bytes_of(origin, b"cold/k", 5) for _ in range(20)] == [b"12345"] * 20
            assert await bytes_of(origin, b"hot/k", 5) == b"12345"


async def test_reads_beyond_what_may_wait_are_refused_at_once() -> None:
    limits = OriginLimits(concurrency=1, waiting=2, retry=RetryPolicy(tries=1))
    with bucket() as store:
        store.objects = {"k": b"12345"}
        source = S3Source(bucket="b", endpoint=store.endpoint)
        async with aclosing(S3Origin(source, NOBODYS, limits)) as origin:
            body = await origin.read(b"k", 0, 5)
            waiting = [asyncio.create_task(bytes_of(origin, b"k", 5)) for _ in range(2)]
            await asyncio.sleep(0)
            with pytest.raises(OriginThrottled, match="all 1 reads allowed at once are under way and 2 wait"):
                await origin.read(b"k", 0, 5)
            await body.aclose()
            assert await asyncio.gather(*waiting) == [b"12345"] * 2
            assert await bytes_of(origin, b"k", 5) == b"12345"


async def test_a_store_that_nobody_runs_is_unavailable(place_nowhere: S3Origin) -> None:
    for call in (place_nowhere.read(b"k", 0, 1), place_nowhere.head(b"k"), place_nowhere.prefixes(b"")):
        with pytest.raises(OriginUnavailable):
            await call


@pytest.fixture
async def place_nowhere() -> AsyncIterator[S3Origin]:
    keys = Credentials(access_key_id="k", secret_access_key=SecretStr("s"))
    async with aclosing(S3Origin(S3Source(bucket="b", endpoint="http://127.0.0.1:1"), keys, AT_ONCE)) as origin:
        yield origin


@rgw
async def test_more_readers_than_allowed_wait_and_then_give_up(place: S3Place, gateway: Gateway) -> None:
    place.put(b"k", b"12345")
    limits = OriginLimits(concurrency=2, total_s=0.5, retry=RetryPolicy(tries=1))
    async with aclosing(S3Origin(place.source, keys_of(gateway), limits)) as origin:
        with suppress(OriginUnavailable):
            await origin.prefixes(b"")  # opens the clients, which may take longer than the deadline here
        held = [await held_open(origin) for _ in range(2)]
        with pytest.raises(OriginUnavailable, match="all 2 reads"):
            await origin.read(b"k", 0, 5)
        await held[0].aclose()
        again = await held_open(origin)
        for body in (held[1], again):
            await body.aclose()


async def held_open(origin: S3Origin):  # type: ignore[no-untyped-def]
    for _ in itertools.repeat(None, 20):
        with suppress(OriginUnavailable):
            return await origin.read(b"k", 0, 5)
    raise AssertionError("no read succeeded within its deadline")


@pytest.mark.parametrize(
    ("endpoint", "place"),
    [
        (None, "aws"),
        ("https://S3.Example.com", "https://s3.example.com"),
        ("https://s3.example.com:443/", "https://s3.example.com"),
        ("http://s3.example.com:80", "http://s3.example.com"),
        ("http://s3.example.com:8000/base/", "http://s3.example.com:8000/base"),
    ],
)
def test_an_identity_is_canonical(endpoint: str | None, place: str) -> None:
    assert identity_of(S3Source(bucket="b", endpoint=endpoint)) == f"s3 {place} us-east-1 b"


def test_a_given_identity_stands_for_where_the_store_is() -> None:
    here = S3Source(bucket="b", endpoint="http://127.0.0.1:1", identity="lake")
    there = S3Source(bucket="b", endpoint="http://127.0.0.1:2", region="eu-west-1", identity="lake")
    assert identity_of(here) == identity_of(there) != identity_of(S3Source(bucket="c", identity="lake"))
