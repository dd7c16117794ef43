"""ListObjects and ListObjectsV2: parameters, tokens and pages. Pure, over a Commit.

A token carries its commit, so a listing that pages on sees one version of the Dataset from first to last page, also when a
sync moves the head meanwhile.
"""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass

from forebay_cache.catalog.base import Commit, Page
from forebay_cache.model.ids import CommitId
from forebay_cache.serve import s3xml
from forebay_cache.serve.s3errors import S3Refusal

PAGE_LIMIT = 1000
_TOKEN_VERSION = b"\x01"


@dataclass(frozen=True, slots=True)
class ListRequest:
    """`after`: the key to go on behind, from the token, start-after or marker."""

    version: int
    prefix: bytes
    delimiter: bytes
    after: bytes
    limit: int
    url_encoded: bool
    commit: CommitId | None
    """The commit a token names; None: the head."""
    start_after: bytes | None = None
    token: str | None = None


def parse(query: Mapping[bytes, bytes]) -> ListRequest:
    """The parameters of ListObjectsV2 (`list-type=2`) or ListObjects. Raises S3Refusal."""
    version = 2 if query.get(b"list-type") == b"2" else 1
    if query.get(b"list-type", b"2") != b"2":
        raise _invalid("list-type must be 2")
    encoding = query.get(b"encoding-type", b"")
    if encoding not in (b"", b"url"):
        raise _invalid("encoding-type must be url")
    token = query.get(b"continuation-token") if version == 2 else None
    start_after = query.get(b"start-after" if version == 2 else b"marker")
    commit, after = _decoded(token) if token is not None else (None, start_after or b"")
    return ListRequest(
        version=version,
        prefix=query.get(b"prefix", b""),
        delimiter=query.get(b"delimiter", b""),
        after=after,
        limit=_limit(query.get(b"max-keys")),
        url_encoded=bool(encoding),
        commit=commit,
        start_after=start_after,
        token=token.decode("latin-1") if token is not None else None,
    )


def answer(bucket: str, wanted: ListRequest, commit: Commit) -> bytes:
    """One page of the commit, as XML."""
    page = (
        commit.page(wanted.prefix, wanted.delimiter, wanted.after, wanted.limit) if wanted.limit else Page((), (), None)
    )
    echo = _echo_v2(wanted, page, commit.id) if wanted.version == 2 else _echo_v1(wanted, page)
    return s3xml.listing(
        s3xml.Listing(bucket, page.entries, page.prefixes, page.next is not None, wanted.url_encoded, tuple(echo))
    )


def token_for(commit: CommitId, after: bytes) -> str:
    return urlsafe_b64encode(_TOKEN_VERSION + bytes.fromhex(commit) + after).decode()


def _decoded(token: bytes) -> tuple[CommitId, bytes]:
    try:
        raw = urlsafe_b64decode(token)
    except (binascii.Error, ValueError) as exc:
        raise _invalid("the continuation token is not one of this server's") from exc
    if raw[:1] != _TOKEN_VERSION or len(raw) < 33:
        raise _invalid("the continuation token is not one of this server's")
    return CommitId(raw[1:33].hex()), raw[33:]


def _limit(value: bytes | None) -> int:
    if value is None:
        return PAGE_LIMIT
    if not value.isdigit() or len(value) > 10:
        raise _invalid("max-keys must be a number from 0 to 2147483647")
    return min(int(value), PAGE_LIMIT)


def _echo_v2(wanted: ListRequest, page: Page, commit: CommitId) -> list[tuple[str, str]]:
    echo = [*_echo_common(wanted), ("KeyCount", str(len(page.entries) + len(page.prefixes)))]
    if wanted.start_after is not None:
        echo.append(("StartAfter", _shown(wanted, wanted.start_after)))
    if wanted.token is not None:
        echo.append(("ContinuationToken", s3xml.text(wanted.token)))
    if page.next is not None:
        echo.append(("NextContinuationToken", token_for(commit, page.next)))
    return echo


def _echo_v1(wanted: ListRequest, page: Page) -> list[tuple[str, str]]:
    echo = [*_echo_common(wanted), ("Marker", _shown(wanted, wanted.after))]
    if page.next is not None:
        echo.append(("NextMarker", _shown(wanted, page.next)))
    return echo


def _echo_common(wanted: ListRequest) -> list[tuple[str, str]]:
    echo = [("Prefix", _shown(wanted, wanted.prefix)), ("MaxKeys", str(wanted.limit))]
    if wanted.delimiter:
        echo.append(("Delimiter", _shown(wanted, wanted.delimiter)))
    if wanted.url_encoded:
        echo.append(("EncodingType", "url"))
    return echo


def _shown(wanted: ListRequest, value: bytes) -> str:
    return s3xml.url_text(value) if wanted.url_encoded else s3xml.bytes_text(value)


def _invalid(message: str) -> S3Refusal:
    return S3Refusal(400, "InvalidArgument", message)
