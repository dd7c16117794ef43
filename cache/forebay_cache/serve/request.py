"""One HTTP request as the faces see it, and what its target names. Pure."""

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from forebay_cache.model.errors import BadInput
from forebay_cache.serve.s3errors import S3Refusal

KEY_LIMIT = 1024
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})").search


class Request:
    """Raw path and query, header names in lower case, repeated headers joined by commas. Made by the parser alone; not a
    dataclass, because a frozen one costs a microsecond more on the hot path."""

    __slots__ = ("headers", "keep_alive", "method", "path", "query", "started")

    def __init__(
        self, method: bytes, target: bytes, headers: dict[bytes, bytes], *, keep_alive: bool, started: float
    ) -> None:
        self.method = method
        self.path, _, self.query = target.partition(b"?")
        self.headers = headers
        self.keep_alive = keep_alive
        self.started = started


@dataclass(frozen=True, slots=True)
class Target:
    """What a path names: the service, a bucket, or an object. Keys are never normalised."""

    bucket: str
    key: bytes


def target_of(path: bytes) -> Target:
    """`/bucket/key`, also as an absolute URL (clients behind a proxy). Raises BadInput."""
    if not path.startswith(b"/"):
        scheme, separator, rest = path.partition(b"://")
        if not separator or scheme.lower() not in (b"http", b"https"):
            raise BadInput("the request's target must be a path")
        path = b"/" + rest.partition(b"/")[2]
    if _BROKEN_ESCAPE(path):
        raise S3Refusal(
            400, "InvalidURI", "the path holds a broken percent escape: % must be followed by two hex digits"
        )
    bucket, _, key = path[1:].partition(b"/")
    return Target(unquote_to_bytes(bucket).decode("utf-8", "replace"), unquote_to_bytes(key))
