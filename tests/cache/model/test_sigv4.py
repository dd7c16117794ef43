"""The verifier against signatures that botocore makes: what clients really send."""

import datetime as dt
import hmac
import string
import time
from dataclasses import dataclass, replace
from unittest.mock import patch
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from forebay_cache.model import sigv4
from forebay_cache.model.errors import (
    AccessDenied,
    ClockSkewed,
    KeyUnknown,
    SignatureExpired,
    SignatureMalformed,
    SignatureMismatch,
)

KEY, SECRET, REGION = "AKIAEXAMPLE", "not/a+secret=but/long/enough", "us-east-1"
SECRETS = {KEY: SECRET}


@dataclass(frozen=True, slots=True)
class Request:
    method: bytes
    path: bytes
    query: bytes
    headers: dict[bytes, bytes]


def botocore_signs(
    url: str, *, presigned: int = 0, region: str = REGION, service: str = "s3", method: str = "GET"
) -> Request:
    request = AWSRequest(method=method, url=url, headers={"Host": urlsplit(url).netloc})
    credentials = Credentials(KEY, SECRET)
    if presigned:
        S3SigV4QueryAuth(credentials, service, region, expires=presigned).add_auth(request)
    else:
        S3SigV4Auth(credentials, service, region).add_auth(request)
    prepared = request.prepare()
    parts = urlsplit(prepared.url)
    headers = {
        name.lower().encode(): (v if isinstance(v, str) else v.decode()).encode()
        for name, v in prepared.headers.items()
    }
    headers.setdefault(b"host", parts.netloc.encode())
    return Request(method.encode(), parts.path.encode(), parts.query.encode(), headers)


def verifier(at: float | None = None) -> sigv4.Verifier:
    moment = time.time() if at is None else at
    return sigv4.Verifier(REGION, lambda: moment)


ODD_KEYS = [
    "a",
    "a//b",
    "a/../b",
    "./x",
    "ü/ß",
    "a b",
    "a+b",
    "a%20b",
    "x=y&z",
    "~tilde",
    "q?uestion",
    "ha#sh",
    "'\"<>",
    "a/",
    "*!()",
]


@pytest.mark.parametrize("key", ODD_KEYS)
def test_a_header_signature_over_an_odd_key_is_verified(key: str) -> None:
    request = botocore_signs("http://127.0.0.1:7450/bucket/" + quote(key, safe="/~"))
    assert verifier().verify(request, SECRETS.get) == KEY


@pytest.mark.parametrize("key", ODD_KEYS)
def test_a_presigned_url_over_an_odd_key_is_verified(key: str) -> None:
    request = botocore_signs("http://127.0.0.1:7450/bucket/" + quote(key, safe="/~"), presigned=60)
    assert verifier().verify(request, SECRETS.get) == KEY


@given(prefix=st.text(st.characters(exclude_categories=["Cs"]), max_size=20), delimiter=st.sampled_from(["", "/", "&"]))
def test_any_query_is_verified(prefix: str, delimiter: str) -> None:
    url = f"http://h/b?list-type=2&prefix={quote(prefix, safe='-_.~')}&delimiter={quote(delimiter, safe='')}&versions="
    assert verifier().verify(botocore_signs(url), SECRETS.get) == KEY


@given(at=st.integers(0, 63), digit=st.sampled_from(string.hexdigits.lower()))
def test_no_other_signature_passes(at: int, digit: str) -> None:
    request = botocore_signs("http://h/b/k")
    value = request.headers[b"authorization"].decode()
    head, signature = value[:-64], value[-64:]
    forged = signature[:at] + digit + signature[at + 1 :]
    if hmac.compare_digest(forged, signature):
        return
    headers = {**request.headers, b"authorization": (head + forged).encode()}
    with pytest.raises(SignatureMismatch):
        verifier().verify(replace(request, headers=headers), SECRETS.get)


def changed(request: Request, **fields: object) -> Request:
    return replace(request, **fields)


def test_every_signed_thing_counts() -> None:
    request = botocore_signs("http://h/b/k?x-id=GetObject")
    for other in (
        changed(request, method=b"HEAD"),
        changed(request, path=b"/b/K"),
        changed(request, query=b"x-id=PutObject"),
        changed(request, headers={**request.headers, b"host": b"g"}),
        changed(request, headers={**request.headers, b"x-amz-content-sha256": b"UNSIGNED-PAYLOAD"}),
    ):
        with pytest.raises(SignatureMismatch):
            verifier().verify(other, SECRETS.get)


def test_an_unsigned_amz_header_is_refused() -> None:
    request = botocore_signs("http://h/b/k")
    with pytest.raises(SignatureMalformed):
        verifier().verify(changed(request, headers={**request.headers, b"x-amz-acl": b"public"}), SECRETS.get)


def test_a_header_that_was_signed_and_left_out_is_refused() -> None:
    request = botocore_signs("http://h/b/k")
    headers = {name: value for name, value in request.headers.items() if name != b"x-amz-content-sha256"}
    with pytest.raises(SignatureMismatch):
        verifier().verify(changed(request, headers=headers), SECRETS.get)


@pytest.mark.parametrize(("after_s", "error"), [(-1000, ClockSkewed), (1000, ClockSkewed), (-800, None), (800, None)])
def test_the_clock_may_differ_by_fifteen_minutes(after_s: int, error: type[AccessDenied] | None) -> None:
    request = botocore_signs("http://h/b/k")
    checked = verifier(time.time() + after_s)
    if error is None:
        assert checked.verify(request, SECRETS.get) == KEY
        return
    with pytest.raises(error):
        checked.verify(request, SECRETS.get)


@pytest.mark.parametrize(("after_s", "good"), [(0, True), (50, True), (70, False), (-1000, False)])
def test_a_presigned_url_lives_as_long_as_it_says(after_s: int, good: bool) -> None:
    request = botocore_signs("http://h/b/k", presigned=60)
    if good:
        assert verifier(time.time() + after_s).verify(request, SECRETS.get) == KEY
        return
    with pytest.raises(SignatureExpired):
        verifier(time.time() + after_s).verify(request, SECRETS.get)


def test_wrong_region_service_and_key() -> None:
    for request in (botocore_signs("http://h/b/k", region="eu-west-1"), botocore_signs("http://h/b/k", service="ec2")):
        with pytest.raises(SignatureMalformed):
            verifier().verify(request, SECRETS.get)
    with pytest.raises(KeyUnknown):
        verifier().verify(botocore_signs("http://h/b/k"), {}.get)


@pytest.mark.parametrize(
    "authorization",
    [
        b"",
        b"AWS key:signature",
        b"AWS4-HMAC-SHA256",
        b"AWS4-HMAC-SHA256 Credential=,SignedHeaders=,Signature=",
        b"AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE, SignedHeaders=host, Signature=0",
        b"AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/2026/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0",
        b"AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=\xff",
        b"AWS4-HMAC-SHA256 Credential=\xff/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0",
    ],
)
def test_nonsense_is_refused(authorization: bytes) -> None:
    with pytest.raises(AccessDenied):
        verifier().verify(Request(b"GET", b"/", b"", {b"authorization": authorization, b"host": b"h"}), SECRETS.get)


@given(st.binary(max_size=80))
def test_no_query_breaks_the_parser(query: bytes) -> None:
    with pytest.raises(AccessDenied):
        verifier().verify(
            Request(b"GET", b"/", b"X-Amz-Algorithm=AWS4-HMAC-SHA256&" + query, {b"host": b"h"}), SECRETS.get
        )


def test_remembered_keys_are_bounded_and_follow_the_secret() -> None:
    checked = verifier()
    request = botocore_signs("http://h/b/k")
    assert checked.verify(request, SECRETS.get) == KEY
    with pytest.raises(SignatureMismatch):
        checked.verify(request, {KEY: "rotated"}.get)
    value = request.headers[b"authorization"]
    for number in range(sigv4.REMEMBERED_SCHEMES + 10):
        padded = replace(
            request, headers={**request.headers, b"authorization": value.replace(b", ", b"," + b" " * number)}
        )
        assert checked.verify(padded, SECRETS.get) == KEY
    assert len(checked._schemes) <= sigv4.REMEMBERED_SCHEMES


@pytest.mark.parametrize("value", ["a  b", "a b ", " a b"])
def test_spaces_in_a_signed_header_count_once(value: str) -> None:
    request = AWSRequest(method="GET", url="http://h/b/k", headers={"Host": "h", "x-amz-note": value})
    S3SigV4Auth(Credentials(KEY, SECRET), "s3", REGION).add_auth(request)
    headers = {name.lower().encode(): v.encode() for name, v in request.headers.items()}
    assert verifier().verify(Request(b"GET", b"/b/k", b"", headers), SECRETS.get) == KEY


def test_our_own_signature_is_botocores() -> None:
    moment = dt.datetime(2026, 1, 31, 12, 30, 15, tzinfo=dt.UTC)
    with patch("botocore.auth.get_current_datetime", return_value=moment, create=True):
        theirs = botocore_signs("http://h:1/b/a%20b?list-type=2&prefix=x")
    if theirs.headers[b"x-amz-date"] != b"20260131T123015Z":
        pytest.skip("this botocore takes its clock from elsewhere")
    ours = sigv4.Signer(KEY, SECRET).sign("GET", "h:1", "/b/a%20b", "list-type=2&prefix=x", moment.timestamp())
    assert ours["Authorization"].encode() == theirs.headers[b"authorization"]
    assert SECRET not in repr(sigv4.Signer(KEY, SECRET))


def test_our_own_signature_verifies() -> None:
    headers = sigv4.Signer(KEY, SECRET).sign("GET", "h:1", "/b/a%20b", "list-type=2&prefix=x", 1_800_000_000.0)
    raw = {name.lower().encode(): value.encode() for name, value in headers.items()} | {b"host": b"h:1"}
    request = Request(b"GET", b"/b/a%20b", b"list-type=2&prefix=x", raw)
    assert verifier(1_800_000_000.0).verify(request, SECRETS.get) == KEY
