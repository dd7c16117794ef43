"""AWS Signature Version 4 for S3, both sides: `Verifier` for the S3 face, `sign` for our own clients. No I/O, no clock.

Every signature is verified; only derived signing keys are remembered, with what else a key's requests of one day share.
Budget: 5 us a request that was signed in its header.
Source: "Authenticating Requests (AWS Signature Version 4)" of the S3 API reference; unlike other services, S3 encodes the
path once and never normalises it.
"""

import hashlib
import hmac
import re
import time
from calendar import timegm
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote_from_bytes, unquote_to_bytes

from forebay_cache.model.errors import ClockSkewed, KeyUnknown, SignatureExpired, SignatureMalformed, SignatureMismatch

ALGORITHM = b"AWS4-HMAC-SHA256"
SKEW_S = 15 * 60
LONGEST_PRESIGN_S = 7 * 24 * 3600
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest().encode()
UNSIGNED = b"UNSIGNED-PAYLOAD"
REMEMBERED_SCHEMES = 1024

_ONLY_V4 = "only AWS4-HMAC-SHA256 signatures are accepted; with boto3 set signature_version='s3v4'"
_PLAIN_PATH = re.compile(rb"[A-Za-z0-9\-._~/]*").fullmatch


class Signed(Protocol):
    """What of a request is signed. Path and query are raw, as on the request line; header names are lower case."""

    @property
    def method(self) -> bytes: ...
    @property
    def path(self) -> bytes: ...
    @property
    def query(self) -> bytes: ...
    @property
    def headers(self) -> Mapping[bytes, bytes]: ...


@dataclass(frozen=True, slots=True)
class Scheme:
    """What is the same in all signatures of one secret, day and list of signed headers. `canonical` and `text` are formats
    of the canonical request and of the string to sign; `inner` and `outer` are HMAC's two hashes with the derived key fed
    in, which halves its price."""

    access_key_id: str
    secret: str
    names: tuple[bytes, ...]
    signed: frozenset[bytes]
    day: bytes
    midnight: int
    canonical: bytes
    text: bytes
    inner: "hashlib._Hash"
    outer: "hashlib._Hash"

    def __repr__(self) -> str:
        return f"Scheme({self.access_key_id})"

    def signature(self, request: Signed, values: list[bytes], timestamp: bytes, payload: bytes) -> bytes:
        """In hexadecimal; `values` are those of `names`."""
        path, query = request.path, request.query
        canonical = self.canonical % (
            request.method,
            path if _PLAIN_PATH(path) else canonical_path(path),  # spares a call for nearly all
            canonical_query(query) if query else query,
            *values,
            payload,
        )
        inner = self.inner.copy()
        inner.update(self.text % (timestamp, hashlib.sha256(canonical).hexdigest().encode()))
        outer = self.outer.copy()
        outer.update(inner.digest())
        return outer.hexdigest().encode()


def carries_signature(request: Signed) -> bool:
    """Whether the request claims to be signed in any way, in header or query."""
    query = request.query
    return b"authorization" in request.headers or (query != b"" and (b"X-Amz-" in query or b"AWSAccessKeyId=" in query))


Parse = Callable[[bytes], tuple[bytes, bytes]]
"""What stands before a signature -> credential, signed headers."""


class Verifier:
    """Verifies signatures for one region. Not shared between threads: it remembers schemes."""

    def __init__(self, region: str, now: Callable[[], float]) -> None:
        self._region = region
        self._now = now
        self._schemes: dict[bytes, Scheme] = {}
        self._timestamp = b""  # the last one that was read, and when it is: a busy client signs many requests a second
        self._moment = 0

    def verify(self, request: Signed, secret_of: Callable[[str], str | None]) -> str:
        """The access key id that signed the request.

        Raises SignatureMalformed, KeyUnknown, ClockSkewed, SignatureExpired, SignatureMismatch.
        """
        headers = request.headers
        authorization = headers.get(b"authorization")
        if authorization is None:
            return self._verify_query(request, secret_of)
        if request.query and b"X-Amz-Signature=" in request.query:
            raise SignatureMalformed("sign in the Authorization header or in the query, not in both")
        frame, _, signature = authorization.rpartition(b"Signature=")
        scheme = self._scheme(frame, secret_of, _parse_frame)
        timestamp = headers.get(b"x-amz-date", b"")
        if abs(self._at(scheme, timestamp) - self._now()) > SKEW_S:
            raise ClockSkewed("the request's time differs from this server's by more than 15 minutes: check the clock")
        signed = scheme.signed
        for name in headers:
            if name not in signed and name.startswith(b"x-amz-"):
                raise SignatureMalformed("every x-amz- header must be signed")
        _compare(request, scheme, timestamp, signature, EMPTY_SHA256)
        return scheme.access_key_id

    def _verify_query(self, request: Signed, secret_of: Callable[[str], str | None]) -> str:
        fields = dict(query_pairs(request.query))
        expires_s = _lifetime(fields)
        frame = b"%b\n%b" % (fields[b"X-Amz-Credential"], fields[b"X-Amz-SignedHeaders"])
        scheme = self._scheme(frame, secret_of, _split_frame)
        timestamp = fields[b"X-Amz-Date"]
        ahead = self._at(scheme, timestamp) - self._now()
        if ahead > SKEW_S:
            raise SignatureExpired("Request is not valid yet: it is dated more than 15 minutes ahead; check the clock")
        if ahead + expires_s < 0:
            raise SignatureExpired(f"Request has expired: it was good for {expires_s} s; presign it anew")
        _compare(request, scheme, timestamp, fields[b"X-Amz-Signature"], UNSIGNED)
        return scheme.access_key_id

    def _at(self, scheme: Scheme, timestamp: bytes) -> int:
        if timestamp != self._timestamp or not timestamp.startswith(scheme.day):
            self._moment = _moment(scheme, timestamp)
            self._timestamp = timestamp
        return self._moment

    def _scheme(self, frame: bytes, secret_of: Callable[[str], str | None], parse: Parse) -> Scheme:
        found = self._schemes.get(frame)
        if found is not None and found.secret == secret_of(found.access_key_id):
            return found
        credential, signed_headers = parse(frame)
        secret = secret_of(credential.partition(b"/")[0].decode("latin-1"))
        if secret is None:
            raise KeyUnknown("the access key id is not known here: use the keys that `forebay keys` prints")
        found = _derive(credential, signed_headers, secret, self._region)
        if len(self._schemes) >= REMEMBERED_SCHEMES:
            self._schemes.clear()
        self._schemes[frame] = found
        return found


def _parse_frame(frame: bytes) -> tuple[bytes, bytes]:
    algorithm, _, rest = frame.partition(b" ")
    if algorithm != ALGORITHM:
        raise SignatureMalformed(_ONLY_V4)
    fields = {}
    for field in rest.split(b","):
        name, _, value = field.partition(b"=")
        fields[name.strip()] = value.strip()
    try:
        return fields[b"Credential"], fields[b"SignedHeaders"]
    except KeyError as exc:
        raise SignatureMalformed(
            "the Authorization header needs Credential, SignedHeaders and, last, Signature"
        ) from exc


def _split_frame(frame: bytes) -> tuple[bytes, bytes]:
    credential, _, signed_headers = frame.partition(b"\n")
    return credential, signed_headers


def _lifetime(fields: Mapping[bytes, bytes]) -> int:
    """Seconds a presigned URL lives; checks that its other parameters are there."""
    if fields.get(b"X-Amz-Algorithm") != ALGORITHM:
        raise SignatureMalformed(_ONLY_V4)
    for name in (b"X-Amz-Credential", b"X-Amz-Date", b"X-Amz-SignedHeaders", b"X-Amz-Signature"):
        if name not in fields:
            raise SignatureMalformed(f"a presigned URL needs {name.decode()}")
    expires = fields.get(b"X-Amz-Expires", b"")
    if not expires.isdigit() or len(expires) > 6 or not 0 < int(expires) <= LONGEST_PRESIGN_S:
        raise SignatureMalformed("X-Amz-Expires must be between 1 and 604800 seconds")
    return int(expires)


def _derive(credential: bytes, signed_headers: bytes, secret: str, region: str) -> Scheme:
    fields = credential.split(b"/")
    if len(fields) != 5:
        raise SignatureMalformed("the credential must look like KEY/20260131/region/s3/aws4_request")
    access_key_id, day, claimed_region, service, terminator = fields
    if claimed_region != region.encode():
        raise SignatureMalformed(f"the region is wrong; expecting '{region}'")
    if service != b"s3" or terminator != b"aws4_request":
        raise SignatureMalformed("the credential must be for service s3 and end with aws4_request")
    names = tuple(signed_headers.split(b";"))
    if b"host" not in names:
        raise SignatureMalformed("the Host header must be signed")
    try:
        midnight = timegm(time.strptime(day.decode("ascii"), "%Y%m%d"))
    except ValueError as exc:
        raise SignatureMalformed("the credential's day must look like 20260131") from exc
    return _scheme_of(access_key_id.decode("latin-1"), secret, credential[len(access_key_id) + 1 :], names, midnight)


def _scheme_of(access_key_id: str, secret: str, scope: bytes, names: tuple[bytes, ...], midnight: int) -> Scheme:
    escaped = [name.replace(b"%", b"%%") for name in names]
    lines = b"".join(name + b":%b\n" for name in escaped)
    key = signing_key(secret, scope)
    return Scheme(
        access_key_id=access_key_id,
        secret=secret,
        names=names,
        signed=frozenset(names),
        day=scope[:8],
        midnight=midnight,
        canonical=b"%b\n%b\n%b\n" + lines + b"\n" + b";".join(escaped) + b"\n%b",
        text=ALGORITHM + b"\n%b\n" + scope.replace(b"%", b"%%") + b"\n%b",
        inner=hashlib.sha256(_padded(key, 0x36)),
        outer=hashlib.sha256(_padded(key, 0x5C)),
    )


def _padded(key: bytes, pad: int) -> bytes:
    return bytes(byte ^ pad for byte in key.ljust(64, b"\0"))


def signing_key(secret: str, scope: bytes) -> bytes:
    """The derived key of one scope `day/region/service/aws4_request`."""
    key = b"AWS4" + secret.encode()
    for word in scope.split(b"/"):
        key = hmac.digest(key, word, "sha256")
    return key


def _moment(scheme: Scheme, timestamp: bytes) -> int:
    """Seconds since the epoch of `20260131T235959Z`."""
    clock = timestamp[9:15]
    if (
        len(timestamp) != 16
        or timestamp[:8] != scheme.day
        or timestamp[8:9] + timestamp[15:] != b"TZ"
        or not clock.isdigit()
    ):
        raise SignatureMalformed("X-Amz-Date must look like 20260131T235959Z, of the credential's day")
    number = int(clock)
    return scheme.midnight + number // 10000 * 3600 + number // 100 % 100 * 60 + number % 100


def _compare(request: Signed, scheme: Scheme, timestamp: bytes, signature: bytes, payload: bytes) -> None:
    headers = request.headers
    try:
        values = list(map(headers.__getitem__, scheme.names))
    except KeyError as exc:
        raise SignatureMismatch("a signed header is missing from the request") from exc
    payload = headers.get(b"x-amz-content-sha256", payload)
    if hmac.compare_digest(scheme.signature(request, values, timestamp, payload), signature):
        return
    trimmed = [b" ".join(value.split()) for value in values]  # only now: hardly any client sends such spaces
    if trimmed != values and hmac.compare_digest(scheme.signature(request, trimmed, timestamp, payload), signature):
        return
    raise SignatureMismatch(
        "the signature does not match this request: check the secret key, and that no proxy changes it"
    )


def canonical_path(path: bytes) -> bytes:
    """The raw path with every byte outside of RFC 3986's unreserved set (and "/") percent-encoded exactly once."""
    return quote_from_bytes(unquote_to_bytes(path), safe="/~").encode()


def canonical_query(query: bytes) -> bytes:
    """The query's parameters encoded once, sorted, without the signature itself."""
    encoded = [(_quoted(name), _quoted(value)) for name, value in query_pairs(query) if name != b"X-Amz-Signature"]
    return b"&".join(b"%b=%b" % pair for pair in sorted(encoded))


def query_pairs(query: bytes) -> list[tuple[bytes, bytes]]:
    """Decoded parameters in order; a name without "=" has the value b""."""
    pairs = []
    for field in query.split(b"&"):
        if field:
            name, _, value = field.replace(b"+", b" ").partition(b"=")
            pairs.append((unquote_to_bytes(name), unquote_to_bytes(value)))
    return pairs


def _quoted(value: bytes) -> bytes:
    return quote_from_bytes(value, safe="~").encode()


@dataclass(frozen=True, slots=True)
class _Unsigned:
    method: bytes
    path: bytes
    query: bytes
    headers: Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs. `secret` never shows in a repr."""

    access_key_id: str
    secret: str
    region: str = "us-east-1"

    def __repr__(self) -> str:
        return f"Signer({self.access_key_id})"

    def sign(self, method: str, host: str, path: str, query: str, at: float) -> dict[str, str]:
        """Headers that sign a request without a body. `path` and `query` as they go on the request line; `at` is now."""
        timestamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at)).encode()
        scope = b"%b/%b/s3/aws4_request" % (timestamp[:8], self.region.encode())
        headers = {b"host": host.encode(), b"x-amz-content-sha256": EMPTY_SHA256, b"x-amz-date": timestamp}
        names = tuple(sorted(headers))
        scheme = _scheme_of(self.access_key_id, self.secret, scope, names, 0)
        request = _Unsigned(method.encode(), path.encode(), query.encode(), headers)
        signature = scheme.signature(request, [headers[name] for name in names], timestamp, EMPTY_SHA256).decode()
        credential = f"{self.access_key_id}/{scope.decode()}"
        signed = b";".join(names).decode()
        authorization = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={signed}, Signature={signature}"
        return {
            "x-amz-content-sha256": EMPTY_SHA256.decode(),
            "x-amz-date": timestamp.decode(),
            "Authorization": authorization,
        }
