"""Range and conditional requests, as pure functions (RFC 9110 sections 13 and 14, where S3 follows it)."""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from enum import Enum, auto

from forebay_cache.catalog.base import Entry
from forebay_cache.model.errors import RangeNotSatisfiable

CONDITIONAL = frozenset((b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since"))
_RANGE = re.compile(rb"bytes=(?:(\d{1,19})-(\d{0,19})|-(\d{1,19}))").fullmatch


class Verdict(Enum):
    SEND = auto()
    NOT_MODIFIED = auto()
    FAILED = auto()


def parse_range(value: bytes, size: int) -> tuple[int, int] | None:
    """[start, stop) of one byte range; None where the header is to be ignored, as S3 does (another unit, several ranges,
    nonsense). Raises RangeNotSatisfiable for one that lies outside of the object."""
    match = _RANGE(value.strip())
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        start, stop = max(0, size - int(suffix)), size
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return None
    if start >= stop:
        asked = value.decode("latin-1")
        raise RangeNotSatisfiable(f"the range {asked} is not within the object's {size} bytes, which count from 0")
    return start, stop


def evaluate(headers: Mapping[bytes, bytes], entry: Entry) -> Verdict:
    """What the If- headers say, in RFC 9110's order of precedence."""
    match = headers.get(b"if-match")
    if match is not None:
        if not _names(match, entry.etag):
            return Verdict.FAILED
    elif (since := headers.get(b"if-unmodified-since")) is not None and _modified_after(since, entry) is True:
        return Verdict.FAILED
    none_match = headers.get(b"if-none-match")
    if none_match is not None:
        return Verdict.NOT_MODIFIED if _names(none_match, entry.etag) else Verdict.SEND
    since = headers.get(b"if-modified-since")
    if since is not None and _modified_after(since, entry) is False:
        return Verdict.NOT_MODIFIED
    return Verdict.SEND


def range_applies(headers: Mapping[bytes, bytes], entry: Entry) -> bool:
    """Whether If-Range, where there is one, still names this object; if not, the whole object is sent."""
    value = headers.get(b"if-range")
    if value is None:
        return True
    if value.startswith((b'"', b"W/")):
        return bool(entry.etag) and value.strip() == b'"%b"' % entry.etag.encode()
    return _modified_after(value, entry) is False


def _names(value: bytes, etag: str) -> bool:
    """Whether a list of entity tags holds this one. S3 clients send tags with and without quotes."""
    tags = [tag.strip().removeprefix(b"W/").strip(b'"') for tag in value.split(b",")]
    return b"*" in tags or (bool(etag) and etag.encode() in tags)


def _modified_after(value: bytes, entry: Entry) -> bool | None:
    """None: not a date, so to be ignored. HTTP dates have whole seconds."""
    try:
        moment = parsedate_to_datetime(value.decode("latin-1"))
        return entry.mtime_ms // 1000 > moment.timestamp()
    except (ValueError, OverflowError):
        return None
