"""An S3 client of one cluster: list, head, read. Signed, streamed, without retries: who resumes is the caller's business.

Every wait has a deadline: CONNECT_S to connect, READ_S without a byte.
"""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, unquote_to_bytes, urlsplit
from xml.etree import ElementTree as ET

import aiohttp
from yarl import URL

from forebay_cache.model import errors
from forebay_cache.model.sigv4 import Signer

CONNECT_S, READ_S = 5.0, 60.0
PIECE = 1 << 20
PAGE = 1000
ERRORS: Mapping[int, type[errors.ForebayError]] = {
    400: errors.BadInput,
    401: errors.AccessDenied,
    403: errors.AccessDenied,
    404: errors.NotFound,
    410: errors.PartGone,
    412: errors.OriginChanged,
    416: errors.RangeNotSatisfiable,
    424: errors.OriginDenied,
    502: errors.OriginBadAnswer,
}


@dataclass(frozen=True, slots=True)
class File:
    """One file as a listing or HEAD gives it; `modified` as RFC 3339 (empty from HEAD)."""

    key: str
    size: int
    etag: str
    modified: str = ""


@dataclass(frozen=True, slots=True)
class Folder:
    """What keys up to a slash have in common."""

    key: str


class Session:
    """Reads one bucket at `endpoint`; `keys` are access key id and secret, None: unsigned. Use it as a context manager."""

    def __init__(
        self, endpoint: str, bucket: str, keys: tuple[str, str] | None, *, now: Callable[[], float] = time.time
    ) -> None:
        parts = urlsplit(endpoint)
        self._base, self._host = f"{parts.scheme}://{parts.netloc}", parts.netloc
        self._path = f"/{quote(bucket, safe='')}"
        self._signer = Signer(*keys) if keys else None
        self._now = now
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=READ_S)
        self._http = aiohttp.ClientSession(timeout=timeout, auto_decompress=False, raise_for_status=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def list(self, prefix: str = "", *, recursive: bool = False) -> AsyncIterator[File | Folder]:
        """Files and folders right below `prefix`, or every file below it; in key order, of one commit."""
        token = ""
        while True:
            query = {"list-type": "2", "encoding-type": "url", "max-keys": str(PAGE), "prefix": prefix}
            query |= {} if recursive else {"delimiter": "/"}
            query |= {"continuation-token": token} if token else {}
            async with self._request("GET", self._path, query) as answer:
                page = ET.fromstring(await answer.read())  # noqa: S314 - from our own member
            for entry in sorted(entries(page), key=lambda e: e.key):
                yield entry
            token = text(page, "NextContinuationToken")
            if not token:
                return

    async def head(self, key: str) -> File:
        """Raises NotFound."""
        async with self._request("HEAD", self._object(key)) as answer:
            return File(key, int(answer.headers["Content-Length"]), answer.headers.get("ETag", ""))

    async def read(self, key: str, start: int = 0, *, etag: str = "") -> AsyncIterator[bytes]:
        """Bytes from `start` to the end, as they come. With `etag`: only of that version, else OriginChanged. Raises
        OriginBadAnswer when it ends early."""
        headers = {"Range": f"bytes={start}-"} if start else {}
        headers |= {"If-Match": etag} if etag else {}
        async with self._request("GET", self._object(key), headers=headers) as answer:
            try:
                async for piece in answer.content.iter_chunked(PIECE):
                    yield piece
            except (aiohttp.ClientError, TimeoutError, OSError) as exc:
                raise errors.OriginBadAnswer(f"{key}: the answer broke off ({said(exc)})") from exc

    def _object(self, key: str) -> str:
        return f"{self._path}/{quote(key.encode('utf-8', 'surrogateescape'), safe='/~')}"

    @asynccontextmanager
    async def _request(
        self, method: str, path: str, query: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        pairs = [
            f"{name}={quote(value.encode('utf-8', 'surrogateescape'), safe='~')}"
            for name, value in (query or {}).items()
        ]
        line = "&".join(sorted(pairs))
        signed = self._signer.sign(method, self._host, path, line, self._now()) if self._signer else {}
        url = URL(f"{self._base}{path}{'?' if line else ''}{line}", encoded=True)
        try:
            answer = await self._http.request(method, url, headers={**(headers or {}), **signed})
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            raise errors.MemberUnreachable(f"{self._base} does not answer: {said(exc)}") from exc
        async with answer:
            if answer.status >= 300:
                raise refusal(answer.status, await answer.read(), path)
            yield answer


def refusal(status: int, body: bytes, path: str) -> errors.ForebayError:
    """The error an S3 answer stands for, with the member's own words where it sent some."""
    kind = ERRORS.get(status, errors.MemberUnreachable if status >= 500 else errors.BadInput)
    try:
        told = ET.fromstring(body) if body else None  # noqa: S314 - from our own member
    except ET.ParseError:
        told = None
    message = f"{text(told, 'Code')}: {text(told, 'Message')}" if told is not None else f"HTTP {status}"
    return kind(f"{path}: {message}")


def said(exc: BaseException) -> str:
    """TimeoutError says nothing of itself."""
    return str(exc) or "nothing came in time"


def entries(page: ET.Element) -> list[File | Folder]:
    files = [
        File(decoded(text(e, "Key")), int(text(e, "Size")), text(e, "ETag"), text(e, "LastModified"))
        for e in page.iter()
        if local(e) == "Contents"
    ]
    folders = [Folder(decoded(text(e, "Prefix"))) for e in page.iter() if local(e) == "CommonPrefixes"]
    return [*files, *folders]


def decoded(key: str) -> str:
    """A percent-encoded key. Keys are bytes: what is not UTF-8 comes as surrogates, as in file names."""
    return unquote_to_bytes(key.replace("+", "%20")).decode("utf-8", "surrogateescape")


def text(parent: ET.Element, name: str) -> str:
    return next((child.text or "" for child in parent if local(child) == name), "")


def local(element: ET.Element) -> str:
    """Tag without its namespace: servers differ in whether they give one."""
    return element.tag.rpartition("}")[2]
