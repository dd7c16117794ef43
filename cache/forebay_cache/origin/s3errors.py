"""What an S3 store's refusals mean: tables from foreign errors to ours, used at this edge only."""

import re

import obstore.exceptions as rust
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from forebay_cache.model.errors import (
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
    "NotFound": OriginMissing,
    "PreconditionFailed": OriginChanged,
    "AccessDenied": OriginDenied,
    "InvalidAccessKeyId": OriginDenied,
    "SignatureDoesNotMatch": OriginDenied,
    "ExpiredToken": OriginDenied,
    "InvalidToken": OriginDenied,
    "Forbidden": OriginDenied,
    "SlowDown": OriginThrottled,
    "Throttling": OriginThrottled,
    "TooManyRequests": OriginThrottled,
}
BY_STATUS: dict[int, type[OriginError]] = {
    301: OriginMissing,  # the bucket is in another region
    400: OriginDenied,
    401: OriginDenied,
    403: OriginDenied,
    404: OriginMissing,
    412: OriginChanged,
    429: OriginThrottled,
    503: OriginThrottled,
}
BY_CLASS: dict[type[BaseException], type[OriginError]] = {
    rust.NotFoundError: OriginMissing,
    rust.PreconditionError: OriginChanged,
    rust.PermissionDeniedError: OriginDenied,
    rust.UnauthenticatedError: OriginDenied,
    NoCredentialsError: OriginDenied,
    PartialCredentialsError: OriginDenied,
}
FOREIGN = (rust.BaseError, BotoCoreError, ClientError, OSError, TimeoutError)
"""All that may come out of a call to the store."""

_CODE = re.compile(r"<Code>(\w+)</Code>")
_STATUS = re.compile(r"\b(?:status|code)\W{0,3}(\d{3})\b", re.IGNORECASE)


def origin_error(exc: BaseException, what: str) -> OriginError:
    """Our error for a foreign one; `what` names the object and the store. Never holds a header or a key."""
    kind, reason = _meaning(exc)
    return kind(f"{what}: {reason}")


def _meaning(exc: BaseException) -> tuple[type[OriginError], str]:
    if isinstance(exc, ClientError):
        return _client_error(exc)
    if kind := BY_CLASS.get(type(exc)):
        return kind, _reason(exc)
    text = str(exc)
    code, status = _CODE.search(text), _STATUS.search(text)
    if code and code[1] in BY_CODE:
        return BY_CODE[code[1]], code[1]
    if status:
        return BY_STATUS.get(int(status[1]), OriginUnavailable), f"HTTP {status[1]}"
    return OriginUnavailable, _reason(exc)


def _client_error(exc: ClientError) -> tuple[type[OriginError], str]:
    error = exc.response.get("Error", {})
    status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = str(error.get("Code", status))
    return BY_CODE.get(code) or BY_STATUS.get(status, OriginUnavailable), f"{code} (HTTP {status})"


def _reason(exc: BaseException) -> str:
    """The first line, shortened: foreign messages may hold whole documents."""
    if isinstance(exc, TimeoutError):
        return "no answer within the deadline"
    return (str(exc).strip().splitlines() or [type(exc).__name__])[0][:200]
