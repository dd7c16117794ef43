"""Every bad input that reaches a member gives its proper S3 error, which names the object, the limit and the next step; it is
logged once, and the member goes on serving. One table; each row is asked of a real process."""

import time
import xml.dom.minidom
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from tests.faults.conftest import LONGEST, House
from tests.rigs.house import READER, STRANGER, Answer, head

from forebay_cache.model.sigv4 import Signer

Ask = Callable[[House], Answer]


@dataclass(frozen=True)
class Row:
    """`says`: what the message must hold."""

    name: str
    ask: Ask
    status: int
    code: str
    says: tuple[str, ...]
    level: str = "info"


def get(target: str, *headers: str, method: str = "GET") -> Ask:
    return lambda house: house.member.get(target, *headers, method=method)


def raw(data: bytes) -> Ask:
    return lambda house: house.member.send(data)


def signed(signer: Signer, ahead_s: float = 0.0, path: str = "/closed/good.txt") -> Ask:
    return lambda house: house.member.signed(path, signer, ahead_s=ahead_s)


def presigned(ahead_s: float, **change: str) -> Ask:
    """A URL that lives for 60 s, made `ahead_s` after it is asked for: a table is much older than that when its rows run."""

    def ask(house: House) -> Answer:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() + ahead_s))
        fields = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"{READER.access_key_id}%2F{stamp[:8]}%2Fus-east-1%2Fs3%2Faws4_request",
            "X-Amz-Date": stamp,
            "X-Amz-Expires": "60",
            "X-Amz-SignedHeaders": "host",
            "X-Amz-Signature": "0" * 64,
        } | change
        return house.member.get("/closed/good.txt?" + "&".join(f"{name}={value}" for name, value in fields.items()))

    return ask


REQUESTS = [
    Row("unknown bucket", get("/nowhere/k"), 404, "NoSuchBucket", ("'nowhere'", "forebay status")),
    Row("listing of an unknown bucket", get("/nowhere?list-type=2"), 404, "NoSuchBucket", ("'nowhere'",)),
    Row("bucket of control characters", get("/a%00%1b/k"), 404, "NoSuchBucket", (r"'a\x00\x1b'",)),
    Row("unknown key", get("/open/nope"), 404, "NoSuchKey", ("'nope'", "commit", "sync Dataset open")),
    Row("key that would climb", get("/open/../../etc/passwd"), 404, "NoSuchKey", ("'../../etc/passwd'",)),
    Row("escaped climb", get("/open/%2e%2e/%2e%2e/etc/passwd"), 404, "NoSuchKey", ("'../../etc/passwd'",)),
    Row("climb into another bucket", get("/open/../closed/good.txt"), 404, "NoSuchKey", ("'../closed/good.txt'",)),
    Row("NUL in a key", get("/open/a%00b"), 404, "NoSuchKey", (r"'a\x00b'",)),
    Row("bytes that are not UTF-8", get("/open/%ff%fe"), 404, "NoSuchKey", (r"xff\\xfe",)),
    Row("key over the limit", get("/open/" + "k" * 1025), 400, "KeyTooLongError", ("1024", "1025")),
    Row("key far over the limit", get("/open/" + "k" * 20_000), 400, "KeyTooLongError", ("1024", "20000")),
    Row("broken escape", get("/open/%zz"), 400, "InvalidURI", ("escape", "hex")),
    Row("raw NUL", raw(b"GET /open/a\0b HTTP/1.1\r\nHost: h\r\n\r\n"), 400, "InvalidURI", ("escaped",)),
    Row("raw bytes", raw(b"GET /open/\xff\xfe HTTP/1.1\r\nHost: h\r\n\r\n"), 400, "InvalidURI", ("escaped",)),
    Row("no HTTP", raw(b"nonsense\r\n\r\n"), 400, "InvalidRequest", ("HTTP/1.1",)),
    Row("TLS", raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), 400, "InvalidRequest", ("TLS",)),
    Row("HTTP/2", raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 400, "InvalidRequest", ("HTTP/1.1",)),
    Row("one endless header", raw(b"GET /open/good.txt HTTP/1.1\r\nX: " + b"y" * 40_000), 400,
        "RequestHeaderSectionTooLarge", ("32768",)),
    Row("a bomb of headers", raw(head("/open/good.txt", *(f"X-{n}: y" for n in range(9000)))), 400,
        "RequestHeaderSectionTooLarge", ("32768",)),
    Row("write", get("/open/new", "Content-Length: 0", method="PUT"), 405, "MethodNotAllowed", ("read-only", "sync")),
    Row("delete", get("/open/good.txt", method="DELETE"), 405, "MethodNotAllowed", ("read-only",)),
    Row("what S3 has and we do not", get("/open/good.txt?acl"), 501, "NotImplemented", ("acl",)),
    Row("a version", get("/open/good.txt?versionId=3"), 404, "NoSuchVersion", ("leave versionId out",)),
    Row("range out of bounds", get("/open/good.txt", "Range: bytes=21-"), 416, "InvalidRange", ("bytes=21-", "21 bytes")),
    Row("range of an empty object", get("/open/empty", "Range: bytes=0-0"), 416, "InvalidRange", ("0 bytes",)),
    Row("failed condition", get("/open/good.txt", 'If-Match: "other"'), 412, "PreconditionFailed", ("precondition",)),
    Row("token of nobody", get("/open?list-type=2&continuation-token=x"), 400, "InvalidArgument", ("token",)),
    Row("max-keys", get("/open?list-type=2&max-keys=-1"), 400, "InvalidArgument", ("max-keys", "2147483647")),
    Row("before the first sync", get("/unsynced/k"), 503, "DatasetNotReady", ("sync", "forebay status"), "warning"),
    Row("unsigned", get("/closed/good.txt"), 403, "AccessDenied", ("bucket closed", "forebay keys")),
    Row("bad signature", signed(Signer(READER.access_key_id, "wrong")), 403, "SignatureDoesNotMatch", ("secret key",)),
    Row("unknown key id", signed(Signer("AKNOBODY", "x")), 403, "InvalidAccessKeyId", ("forebay keys",)),
    Row("another Dataset's key", signed(STRANGER), 403, "AccessDenied", ("AKOTHER", "bucket closed", "own keys")),
    Row("another region", signed(Signer(READER.access_key_id, READER.secret, "eu-west-1")), 400,
        "AuthorizationHeaderMalformed", ("us-east-1",)),
    Row("the old signature", get("/closed/good.txt", "Authorization: AWS AKREADER:c2ln"), 400,
        "AuthorizationHeaderMalformed", ("s3v4",)),
    Row("clock behind", signed(READER, -1000), 403, "RequestTimeTooSkewed", ("15 minutes", "clock")),
    Row("clock ahead", signed(READER, 1000), 403, "RequestTimeTooSkewed", ("15 minutes", "clock")),
    Row("expired presign", presigned(-61), 403, "AccessDenied", ("expired", "60 s", "presign it anew")),
    Row("presign from the future", presigned(2000), 403, "AccessDenied", ("not valid yet", "15 minutes")),
    Row("presign of a forger", presigned(0), 403, "SignatureDoesNotMatch", ("secret key",)),
    Row("presign for too long", presigned(0, **{"X-Amz-Expires": "604801"}), 400, "AuthorizationHeaderMalformed",
        ("604800",)),
]  # fmt: skip

ORIGINS = [
    Row("deleted at the origin", get("/open/gone.bin"), 410, "ObjectGone", ("'gone.bin'", "sync"), "warning"),
    Row("overwritten at the origin", get("/open/overwritten.bin"), 410, "ObjectGone", ("'overwritten.bin'", "sync"),
        "warning"),
    Row("bucket gone", get("/open/no-bucket.bin"), 410, "ObjectGone", ("'no-bucket.bin'", "NoSuchBucket"), "warning"),
    Row("credentials refused", get("/open/denied.bin"), 424, "OriginAccessDenied", ("'denied.bin'", "credentials"),
        "warning"),
    Row("throttled", get("/open/throttled.bin"), 503, "SlowDown", ("'throttled.bin'", "SlowDown"), "warning"),
    Row("origin broken", get("/open/broken.bin"), 503, "OriginUnavailable", ("'broken.bin'", "500"), "warning"),
    Row("truncated body", get("/open/cut.bin"), 502, "OriginBadAnswer", ("'cut.bin'", "10000 bytes"), "warning"),
    Row("body too long", get("/open/longer.bin"), 502, "OriginBadAnswer", ("'longer.bin'", "10000"), "warning"),
    Row("another range", get("/open/elsewhere.bin"), 502, "OriginBadAnswer", ("'elsewhere.bin'",), "warning"),
    Row("a login page", get("/open/strange.bin"), 502, "OriginBadAnswer", ("'strange.bin'",), "warning"),
]  # fmt: skip


@pytest.mark.parametrize("row", [*REQUESTS, *ORIGINS], ids=lambda row: row.name)
def test_bad_input(house: House, row: Row) -> None:
    before = house.member.mark()
    found = row.ask(house)
    assert (found.status, found.code) == (row.status, row.code), found.body
    assert all(word in found.message for word in row.says), found.message
    xml.dom.minidom.parseString(found.body)
    (record,) = house.member.told(before)
    assert (record["event"], record["level"], record["code"]) == ("request refused", row.level, row.code)
    assert record["request"] == found.headers["x-amz-request-id"]
    house.good()


def test_the_longest_key_is_an_input_like_any_other(house: House) -> None:
    before = house.member.mark()
    found = house.member.get("/open/" + LONGEST)
    assert (found.status, found.body) == (200, b"the longest key")
    assert house.member.told(before) == []
