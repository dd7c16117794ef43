"""One log record for each refusal: what a client was told, and what lies behind it.

Bounded by code, because whoever asks for nonsense in a loop must not fill the disk: what is left out is counted, here in the
next record of that code, and all of it in `forebay_s3_requests_total`.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from forebay_cache.model.errors import AccessDenied, BadInput, NotFound
from forebay_cache.serve.s3errors import S3Error, s3_error

log = logging.getLogger("forebay.s3")
A_SECOND = 20
"""Records of one code."""
PATH_LIMIT = 1200
"""Characters of a path: a bucket and any key that S3 allows, unless nearly all of it is escaped."""


@dataclass(slots=True)
class _Second:
    number: int
    records: int = 0
    left_out: int = 0


class Refusals:
    """One S3 face's. `now` counts seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._seconds: dict[str, _Second] = {}

    def record(self, error: BaseException, path: str, client: str, request_id: str) -> None:
        """A warning where someone who runs the cache or the origin should look; else, the client's own mistake, for
        information."""
        found = s3_error(error)
        second = self._second(found.code)
        if second.records >= A_SECOND:
            second.left_out += 1
            return
        second.records += 1
        extra = {
            "code": found.code,
            "status": found.status,
            "path": path[:PATH_LIMIT],
            "client": client,
            "error": str(error) or type(error).__name__,
            "request": request_id,
        }
        if second.left_out:
            extra["left_out"], second.left_out = second.left_out, 0
        log.log(logging.INFO if _clients(error, found) else logging.WARNING, "request refused", extra=extra)

    def _second(self, code: str) -> _Second:
        """The table has as many entries as there are codes."""
        number = int(self._now())
        second = self._seconds.setdefault(code, _Second(number))
        if second.number != number:
            second.number, second.records = number, 0
        return second


def _clients(error: BaseException, found: S3Error) -> bool:
    """Whether it is the client's to mend. 501: asked for what is not served here."""
    return found.status == 501 or (found.status < 500 and isinstance(error, (BadInput, AccessDenied, NotFound)))
