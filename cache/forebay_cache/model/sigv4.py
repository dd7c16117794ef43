"""AWS Signature Version 4 for S3, both sides: `Verifier` for the S3 face, `sign` for our own clients. No I/O, no clock.

Every signature is verified; only derived signing keys are remembered (they change once a day per key). Budget: under
10 us a request with a remembered key. Source: "Authenticating Requests (AWS Signature Version 4)" of the S3 API reference;
unlike other services, S3 encodes the path once and never normalises it.
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
REMEMBERED_KEYS = 1024

_PLAIN_PATH = re.compile(rb"[A-Za-z0-9\-._~/]*").fullmatch
_TIMESTAMP = re.compile(rb"(\d{8})T(\d\d)(\d\d)(\d\d)Z").fullmatch


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
class Claim:
    """What a request says of its own signature, before anything is believed."""

    credential: bytes
    signed_headers: bytes
    signature: bytes
    timestamp: bytes
    expires_s: int | None = None
    """Lifetime of a presigned URL; None for a signature in the header."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A derived key, good for one access key, day and region; `midnight` is the day's first second."""

    access_key_id: str
    scope: bytes
    midnight: int
    key: bytes


def carries_signature(request: Signed) -> bool:
    """Whether the request claims to be signed in any way, in header or query."""
    return b"authorization" in request.headers or b"X-Amz-" in request.query


class Verifier:
    """Verifies signatures for one region. Not shared between threads: it remembers derived keys."""

    def __init__(self, region: str, now: Callable[[], float]) -> None:
        self._region = region
        self._now = now
        self._keys: dict[tuple[bytes, str], SigningKey] = {}

    def verify(self, request: Signed, secret_of: Callable[[str], str | None]) -> str:
        """The access key id that signed the request.

        Raises SignatureMalformed, KeyUnknown, ClockSkewed, SignatureExpired, SignatureMismatch.
        """
        claim = _claim(request)
        key = self._signing_key(claim.credential, secret_of)
        self._check_time(claim, key)
        canonical = _canonical_request(request, claim)
        digest = hashlib.sha256(canonical).hexdigest().encode()
        text = b"%b\n%b\n%b\n%b" % (ALGORITHM, claim.timestamp, key.scope, digest)
        expected = hmac.digest(key.key, text, "sha256").hex().encode()
        if not hmac.compare_digest(expected, claim.signature):
            raise SignatureMismatch(
                "the signature does not match this request: check the secret key, and that no proxy changes it"
            )
        return key.access_key_id

    def _signing_key(self, credential: bytes, secret_of: Callable[[str], str | None]) -> SigningKey:
        access_key_id = credential.partition(b"/")[0].decode("latin-1")
        secret = secret_of(access_key_id)
        if secret is None:
            raise KeyUnknown("the access key id is not known here")
        found = self._keys.get((credential, secret))
        if found is None:
            found = _derive(credential, secret, self._region)
            if len(self._keys) >= REMEMBERED_KEYS:
                self._keys.clear()
            self._keys[credential, secret] = found
        return found

    def _check_time(self, claim: Claim, key: SigningKey) -> None:
        match = _TIMESTAMP(claim.timestamp)
        if match is None or not key.scope.startswith(match[1]):
            raise SignatureMalformed("X-Amz-Date must look like 20260131T235959Z, of the credential's day")
        signed_at = key.midnight + int(match[2]) * 3600 + int(match[3]) * 60 + int(match[4])
        ahead = signed_at - self._now()
        if claim.expires_s is None:
            if abs(ahead) > SKEW_S:
                raise ClockSkewed(
                    "the request's time differs from this server's by more than 15 minutes: check the clock"
                )
        elif ahead > SKEW_S:
            raise SignatureExpired("Request is not valid yet")
        elif ahead + claim.expires_s < 0:
            raise SignatureExpired("Request has expired")


def _claim(request: Signed) -> Claim:
    authorization = request.headers.get(b"authorization")
    if authorization is None:
        return _claim_in_query(request.query)
    if b"X-Amz-Signature=" in request.query:
        raise SignatureMalformed("sign in the Authorization header or in the query, not in both")
    return _claim_in_header(authorization, request.headers)


def _claim_in_header(authorization: bytes, headers: Mapping[bytes, bytes]) -> Claim:
    algorithm, _, rest = authorization.partition(b" ")
    if algorithm != ALGORITHM:
        raise SignatureMalformed("only AWS4-HMAC-SHA256 signatures are accepted")
    fields = {}
    for field in rest.split(b","):
        name, _, value = field.partition(b"=")
        fields[name.strip()] = value.strip()
    timestamp = headers.get(b"x-amz-date")
    try:
        claim = Claim(fields[b"Credential"], fields[b"SignedHeaders"], fields[b"Signature"], timestamp or b"")
    except KeyError as exc:
        raise SignatureMalformed("the Authorization header needs Credential, SignedHeaders and Signature") from exc
    _check_all_signed(headers, claim.signed_headers.split(b";"))
    return claim


def _check_all_signed(headers: Mapping[bytes, bytes], signed: list[bytes]) -> None:
    if b"host" not in signed:
        raise SignatureMalformed("the Host header must be signed")
    for name in headers:
        if name.startswith(b"x-amz-") and name not in signed:
            raise SignatureMalformed("every x-amz- header must be signed")


def _claim_in_query(query: bytes) -> Claim:
    fields = dict(query_pairs(query))
    if fields.get(b"X-Amz-Algorithm") != ALGORITHM:
        raise SignatureMalformed("only AWS4-HMAC-SHA256 signatures are accepted")
    try:
        expires = int(fields[b"X-Amz-Expires"])
        claim = Claim(
            fields[b"X-Amz-Credential"],
            fields[b"X-Amz-SignedHeaders"],
            fields[b"X-Amz-Signature"],
            fields[b"X-Amz-Date"],
            expires,
        )
    except (KeyError, ValueError) as exc:
        raise SignatureMalformed("a presigned URL needs the six X-Amz- parameters of Signature Version 4") from exc
    if not 0 < expires <= LONGEST_PRESIGN_S:
        raise SignatureMalformed("X-Amz-Expires must be between 1 and 604800 seconds")
    if b"host" not in claim.signed_headers.split(b";"):
        raise SignatureMalformed("the Host header must be signed")
    return claim


def _derive(credential: bytes, secret: str, region: str) -> SigningKey:
    fields = credential.split(b"/")
    if len(fields) != 5:
        raise SignatureMalformed("the credential must look like KEY/20260131/region/s3/aws4_request")
    access_key_id, day, claimed_region, service, terminator = fields
    if claimed_region != region.encode():
        raise SignatureMalformed(f"the region is wrong; expecting '{region}'")
    if service != b"s3" or terminator != b"aws4_request":
        raise SignatureMalformed("the credential must be for service s3 and end with aws4_request")
    try:
        midnight = timegm(time.strptime(day.decode("ascii"), "%Y%m%d"))
    except ValueError as exc:
        raise SignatureMalformed("the credential's day must look like 20260131") from exc
    scope = credential[len(access_key_id) + 1 :]
    return SigningKey(access_key_id.decode("latin-1"), scope, midnight, signing_key(secret, scope))


def signing_key(secret: str, scope: bytes) -> bytes:
    """The derived key of one scope `day/region/service/aws4_request`."""
    key = b"AWS4" + secret.encode()
    for word in scope.split(b"/"):
        key = hmac.digest(key, word, "sha256")
    return key


def _canonical_request(request: Signed, claim: Claim) -> bytes:
    headers = request.headers
    try:
        lines = [b"%b:%b\n" % (name, _trimmed(headers[name])) for name in claim.signed_headers.split(b";")]
    except KeyError as exc:
        raise SignatureMismatch("a signed header is missing from the request") from exc
    payload = headers.get(b"x-amz-content-sha256", UNSIGNED if claim.expires_s is not None else EMPTY_SHA256)
    return b"%b\n%b\n%b\n%b\n%b\n%b" % (
        request.method,
        canonical_path(request.path),
        canonical_query(request.query) if request.query else b"",
        b"".join(lines),
        claim.signed_headers,
        payload,
    )


def _trimmed(value: bytes) -> bytes:
    return b" ".join(value.split()) if b"  " in value or value[:1] == b" " or value[-1:] == b" " else value


def canonical_path(path: bytes) -> bytes:
    """The raw path with every byte outside of RFC 3986's unreserved set (and "/") percent-encoded exactly once."""
    return path if _PLAIN_PATH(path) else quote_from_bytes(unquote_to_bytes(path), safe="/~").encode()


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
        names = b";".join(sorted(headers))
        credential = self.access_key_id.encode() + b"/" + scope
        claim = Claim(credential, names, b"", timestamp)
        canonical = _canonical_request(_Unsigned(method.encode(), path.encode(), query.encode(), headers), claim)
        digest = hashlib.sha256(canonical).hexdigest().encode()
        text = b"%b\n%b\n%b\n%b" % (ALGORITHM, timestamp, scope, digest)
        signature = hmac.digest(signing_key(self.secret, scope), text, "sha256").hex()
        authorization = (
            f"AWS4-HMAC-SHA256 Credential={credential.decode()}, SignedHeaders={names.decode()}, Signature={signature}"
        )
        return {
            "x-amz-content-sha256": EMPTY_SHA256.decode(),
            "x-amz-date": timestamp.decode(),
            "Authorization": authorization,
        }
