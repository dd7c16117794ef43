"""What an S3 store's refusals mean: tables from foreign errors to ours, used at this edge only.

A 404 makes a part gone for good, so nothing else may be taken for one: the status is read from its fixed place in obstore's
text, never from where a key could show up.
"""

import re

import aiohttp
import obstore.exceptions as rust
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError
from botocore.parsers import ResponseParserError

from forebay_cache.model.errors import (
    OriginBadAnswer,
    OriginChanged,
    OriginDenied,
    OriginError,
    OriginMissing,
    OriginThrottled,
    OriginUnavailable,
)

BY_CODE: dict[str, type[OriginError]] = {
    "NoSuchKey": OriginMissing,
    "NoSuchBucket": OriginMissing,
    "NoSuchVersion": OriginMissing,
    "KeyTooLongError": OriginMissing,
    "InvalidObjectName": OriginMissing,
    "PreconditionFailed": OriginChanged,
    "InvalidRange": OriginChanged,  # we only ask for bytes that a commit says are there
    "RequestTimeout": OriginUnavailable,  # a 400, unlike the others
    "SlowDown": OriginThrottled,
    "Throttling": OriginThrottled,
    "ThrottlingException": OriginThrottled,
    "RequestLimitExceeded": OriginThrottled,
    "BandwidthLimitExceeded": OriginThrottled,
    "TooManyRequests": OriginThrottled,
}
BY_STATUS: dict[int, type[OriginError]] = {
    301: OriginDenied,  # the bucket is in another region: configuration, and by no means gone
    307: OriginUnavailable,
    400: OriginDenied,  # malformed or expired credentials, wrong region
    401: OriginDenied,
    403: OriginDenied,
    404: OriginMissing,
    405: OriginMissing,  # the version is a delete marker
    412: OriginChanged,
    416: OriginChanged,
    429: OriginThrottled,
    503: OriginThrottled,
}
BY_CLASS: dict[type[BaseException], type[OriginError]] = {
    rust.NotFoundError: OriginMissing,
    rust.PreconditionError: OriginChanged,
    rust.PermissionDeniedError: OriginDenied,
    rust.UnauthenticatedError: OriginDenied,
    ResponseParserError: OriginBadAnswer,
    ValueError: OriginBadAnswer,
    NoCredentialsError: OriginDenied,
    PartialCredentialsError: OriginDenied,
}
FOREIGN = (
    rust.BaseError,
    BotoCoreError,
    ClientError,
    ResponseParserError,
    ValueError,
    aiohttp.ClientError,
    OSError,
    TimeoutError,
)
"""All that may come out of a call to the store. obstore's "not found" is a FileNotFoundError, an OSError; aiobotocore lets
some of aiohttp's through while a body comes, and a ValueError where a header holds no date or number."""

_ANSWER = re.compile(r"Server returned non-2xx status code: (\d{3})(.*)", re.DOTALL)
_ELSEWHERE = "Received redirect without LOCATION"  # obstore's word for a 301: it has no status then
_BROKEN = re.compile(
    r"Generic S3 error: (Requested \d|Received non-partial|Failed to parse value|Content-Range header|Invalid last modified)"
).match
"""obstore's words for an answer that is none to what was asked: it has no class of their own for them."""
_CODE = re.compile(r"<Code>(\w+)</Code>")
_KEYS = ": check the credentials of the Dataset's source, or the members' own"
_HINTS = {
    "InvalidObjectState": ": it is archived; restore it at the origin",
    301: ": the bucket is in another region",
    401: _KEYS,
    403: _KEYS,
    416: ": it is smaller than it was",
}


def origin_error(exc: BaseException, what: str) -> OriginError:
    """Our error for a foreign one; `what` names the object and the store. Never holds a header or a secret."""
    kind, reason = _client_error(exc) if isinstance(exc, ClientError) else _transport_error(exc)
    return kind(f"{what}: {reason}")


def broken_body(exc: BaseException, what: str) -> OriginError:
    """The same for what went wrong after an answer had begun."""
    kind = OriginUnavailable if isinstance(exc, TimeoutError) else OriginBadAnswer
    return kind(f"{what}: {_reason(exc)}")


def _client_error(exc: ClientError) -> tuple[type[OriginError], str]:
    code = str(exc.response.get("Error", {}).get("Code", ""))
    return _answered(exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0), code)


def _transport_error(exc: BaseException) -> tuple[type[OriginError], str]:
    if answer := _ANSWER.search(str(exc)):
        code = _CODE.search(answer[2])
        return _answered(int(answer[1]), code[1] if code else "")
    if isinstance(exc, rust.BaseError) and _ELSEWHERE in str(exc):
        return _answered(301, "")
    if isinstance(exc, rust.GenericError) and _BROKEN(str(exc)):
        return OriginBadAnswer, f"{_reason(exc)}; is this an S3 store?"
    return BY_CLASS.get(type(exc), OriginUnavailable), _reason(exc)


def _answered(status: int, code: str) -> tuple[type[OriginError], str]:
    kind = BY_CODE.get(code) or BY_STATUS.get(status, OriginUnavailable)
    named = "" if code == str(status) else code
    hint = _HINTS.get(code) or _HINTS.get(status, "")
    return kind, f"{named} (HTTP {status}){hint}".lstrip()


def _reason(exc: BaseException) -> str:
    """The first line, shortened: foreign messages may hold whole documents."""
    if isinstance(exc, TimeoutError):
        return "no answer within the deadline"
    return (str(exc).strip().splitlines() or [type(exc).__name__])[0][:200]
