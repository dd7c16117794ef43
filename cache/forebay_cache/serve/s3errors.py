"""The one table from our errors to what an S3 client is told. Pure.

Statuses matter: clients retry 5xx and never 4xx, so what a retry cannot heal is a 4xx, also where it is not the client's
fault. An object that drifted at the origin is 410 ObjectGone: neither a missing key (the commit lists it) nor zeros.
"""

from dataclasses import dataclass

from forebay_cache.model import errors


@dataclass(frozen=True, slots=True)
class S3Error:
    """`retry_after_s` becomes a Retry-After header. `detail`: whether the error's own message is for the client."""

    status: int
    code: str
    detail: bool = True
    retry_after_s: int | None = None


class S3Refusal(errors.BadInput):
    """A request that S3's own rules refuse, with the S3 code that says so."""

    def __init__(self, status: int, code: str, message: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.error = S3Error(status, code)
        self.headers = headers


_TABLE: dict[type[BaseException], S3Error] = {
    errors.KeyUnknown: S3Error(403, "InvalidAccessKeyId"),
    errors.SignatureMismatch: S3Error(403, "SignatureDoesNotMatch"),
    errors.SignatureMalformed: S3Error(400, "AuthorizationHeaderMalformed"),
    errors.SignatureExpired: S3Error(403, "AccessDenied"),
    errors.ClockSkewed: S3Error(403, "RequestTimeTooSkewed"),
    errors.AccessDenied: S3Error(403, "AccessDenied"),
    errors.RangeNotSatisfiable: S3Error(416, "InvalidRange"),
    errors.BadInput: S3Error(400, "InvalidRequest"),
    errors.PartGone: S3Error(410, "ObjectGone"),
    errors.OriginMissing: S3Error(410, "ObjectGone"),
    errors.OriginChanged: S3Error(410, "ObjectGone"),
    errors.OriginDenied: S3Error(424, "OriginAccessDenied"),
    errors.OriginThrottled: S3Error(503, "SlowDown", retry_after_s=1),
    errors.OriginUnavailable: S3Error(503, "OriginUnavailable", retry_after_s=2),
    errors.OriginError: S3Error(502, "OriginBadAnswer"),
    errors.DeadlineExceeded: S3Error(503, "ServiceUnavailable", retry_after_s=1),
    TimeoutError: S3Error(503, "ServiceUnavailable", detail=False, retry_after_s=1),
    errors.StoreFull: S3Error(503, "SlowDown", detail=False, retry_after_s=1),
    errors.ChunkCorrupt: S3Error(503, "ServiceUnavailable", detail=False, retry_after_s=1),
    # not a missing key: a catalog file or an origin that is not here now. A 404 would tell the client it never was
    errors.CatalogCorrupt: S3Error(503, "ServiceUnavailable", retry_after_s=30),  # until a sync has healed it
    errors.NotFound: S3Error(503, "ServiceUnavailable", retry_after_s=1),
}
_UNKNOWN = S3Error(500, "InternalError", detail=False)
_MESSAGES = {
    "InternalError": "an internal error occurred; the member's log says more under this request id",
    "SlowDown": "too many requests at once; try again later",
    "ServiceUnavailable": "the answer was not there in time; try again",
}


def s3_error(error: BaseException) -> S3Error:
    """The entry of the error's nearest class."""
    if isinstance(error, S3Refusal):
        return error.error
    return next((_TABLE[kind] for kind in type(error).__mro__ if kind in _TABLE), _UNKNOWN)


def message_of(error: BaseException, found: S3Error) -> str:
    return str(error) if found.detail else _MESSAGES[found.code]
