"""The XML documents of the S3 API that a reader meets. Pure; bytes in, bytes out.

Keys are bytes. With `encoding-type=url` they are percent-encoded; without it, what XML 1.0 cannot hold becomes a character
reference, as S3 does, and bytes that are not UTF-8 become U+FFFD.
"""

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote_from_bytes

from forebay_cache.catalog.base import Entry

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
_SPECIAL = re.compile(r"[&<>\"\x00-\x08\x0b-\x1f\x7f\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Listing:
    """One answer to ListObjects. `echo` are the request's own parameters, as they are to be shown again, in order."""

    bucket: str
    entries: Sequence[Entry]
    prefixes: Sequence[bytes]
    truncated: bool
    url_encoded: bool
    echo: Sequence[tuple[str, str]]


def error(code: str, message: str, resource: str, request_id: str) -> bytes:
    body = (
        f"<Error><Code>{code}</Code><Message>{text(message)}</Message>"
        f"<Resource>{text(resource)}</Resource><RequestId>{request_id}</RequestId></Error>"
    )
    return (_HEAD + body).encode()


def listing(page: Listing) -> bytes:
    """The body of ListObjects and ListObjectsV2."""
    shown = url_text if page.url_encoded else bytes_text
    parts = [_HEAD, f'<ListBucketResult xmlns="{NAMESPACE}"><Name>{text(page.bucket)}</Name>']
    parts += [f"<{name}>{value}</{name}>" for name, value in page.echo]
    parts.append(f"<IsTruncated>{'true' if page.truncated else 'false'}</IsTruncated>")
    for entry in page.entries:
        tag = f"<ETag>&quot;{text(entry.etag)}&quot;</ETag>" if entry.etag else ""
        parts.append(
            f"<Contents><Key>{shown(entry.key)}</Key><LastModified>{timestamp(entry.mtime_ms)}</LastModified>{tag}"
            f"<Size>{entry.size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        )
    parts += [f"<CommonPrefixes><Prefix>{shown(prefix)}</Prefix></CommonPrefixes>" for prefix in page.prefixes]
    parts.append("</ListBucketResult>")
    return "".join(parts).encode()


def buckets(owner: str, found: Iterable[tuple[str, int]]) -> bytes:
    """The body of ListBuckets from (name, creation in milliseconds)."""
    rows = "".join(
        f"<Bucket><Name>{text(name)}</Name><CreationDate>{timestamp(created)}</CreationDate></Bucket>"
        for name, created in found
    )
    body = (
        f'<ListAllMyBucketsResult xmlns="{NAMESPACE}"><Owner><ID>{text(owner)}</ID></Owner>'
        f"<Buckets>{rows}</Buckets></ListAllMyBucketsResult>"
    )
    return (_HEAD + body).encode()


def location(region: str) -> bytes:
    """The body of GetBucketLocation; us-east-1 is the empty one."""
    shown = "" if region == "us-east-1" else text(region)
    return f'{_HEAD}<LocationConstraint xmlns="{NAMESPACE}">{shown}</LocationConstraint>'.encode()


def versioning() -> bytes:
    """The body of GetBucketVersioning: never enabled."""
    return f'{_HEAD}<VersioningConfiguration xmlns="{NAMESPACE}"/>'.encode()


def text(value: str) -> str:
    return _SPECIAL.sub(lambda match: f"&#{ord(match[0])};", value) if _SPECIAL.search(value) else value


def bytes_text(value: bytes) -> str:
    return text(value.decode("utf-8", "replace"))


def url_text(value: bytes) -> str:
    return quote_from_bytes(value, safe="/-_.~*")


def timestamp(moment_ms: int) -> str:
    seconds, millis = divmod(moment_ms, 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{millis:03d}Z"
