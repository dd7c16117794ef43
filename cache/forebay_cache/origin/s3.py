"""An S3 bucket as origin: obstore moves the bytes, aiobotocore does the rest.

obstore costs 0.1-0.2 ms of CPU a GET against 0.7 ms, but rewrites some keys (empty, `.` and `..` components, characters it
escapes); such keys go through aiobotocore, which sends them as they are.
"""

import asyncio
import random as randomness
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeVar

import obstore

from forebay_cache.contract.config import Credentials, S3Source
from forebay_cache.model.errors import OriginChanged, OriginError
from forebay_cache.origin.base import Body, Match, ObjectHead, OriginObject
from forebay_cache.origin.limits import OriginLimits
from forebay_cache.origin.retry import RetryBudget, wait_s
from forebay_cache.origin.s3body import Answer, BotoAnswer, ResumingBody, RustAnswer
from forebay_cache.origin.s3clients import S3Clients
from forebay_cache.origin.s3errors import FOREIGN, origin_error

T = TypeVar("T")
PAGE = 1000
_PLAIN = re.compile(rb"(?!/)(?!.*//)(?!(.*/)?\.\.?(/|$))[A-Za-z0-9!_.*'()=+@,:/-]+(?<!/)", re.DOTALL)
_HEADERS = {
    "ContentType": "content-type",
    "ContentEncoding": "content-encoding",
    "ContentDisposition": "content-disposition",
    "ContentLanguage": "content-language",
    "CacheControl": "cache-control",
}


class S3Origin:
    """Implements Origin. `random` is uniform in [0, 1)."""

    strong = True  # an ETag and If-Match determine the bytes

    def __init__(
        self,
        source: S3Source,
        credentials: Credentials | None = None,
        limits: OriginLimits | None = None,
        random: Callable[[], float] = randomness.random,
    ) -> None:
        self._bucket = source.bucket
        self._limits = limits or OriginLimits()
        self._random = random
        self._clients = S3Clients(source, credentials, self._limits)
        self._budget = RetryBudget()
        self._gate = asyncio.Semaphore(self._limits.concurrency)
        place = source.identity or f"{source.endpoint or 'aws'} {source.region}"
        self.identity = f"s3 {place} {source.bucket}"

    def __repr__(self) -> str:
        return f"<S3Origin {self.identity}>"

    async def head(self, key: bytes, match: Match = Match()) -> ObjectHead:
        async def ask() -> ObjectHead:
            clients = await self._clients.get()
            answer = await clients.control.head_object(Bucket=self._bucket, Key=key.decode(), **_conditions(match))
            return _boto_head(key, answer, answer["ContentLength"])

        return _checked(await self._retried(ask, self._what(key)), match)

    async def read(self, key: bytes, start: int, stop: int, match: Match = Match()) -> Body:
        await self._gate.acquire()
        try:
            answer = await self._retried(lambda: self._get(key, start, stop, match), self._what(key))
        except BaseException:
            self._gate.release()
            raise
        failures = 0

        async def reopen(received: int, error: OriginError) -> Answer | None:
            nonlocal failures
            failures += 1
            if not await self._may_retry(failures, error):
                return None
            return await self._retried(lambda: self._get(key, start + received, stop, match), self._what(key))

        return ResumingBody(answer, stop - start, self._limits.idle_s, reopen, self._gate.release)

    async def prefixes(self, prefix: bytes, delimiter: bytes = b"/") -> list[bytes]:
        page = await self._page(prefix, {"Delimiter": delimiter.decode()})
        return sorted(found["Prefix"].encode() for found in page.get("CommonPrefixes", ()))

    async def list(self, prefix: bytes, start_after: bytes = b"") -> AsyncIterator[list[OriginObject]]:
        more: dict[str, Any] = {"StartAfter": start_after.decode()} if start_after else {}
        while True:
            page = await self._page(prefix, more)
            if found := page.get("Contents"):
                yield [_listed(entry) for entry in found]
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    async def aclose(self) -> None:
        await self._clients.aclose()

    async def _page(self, prefix: bytes, more: Mapping[str, Any]) -> Any:
        async def ask() -> Any:
            clients = await self._clients.get()
            arguments = {"Bucket": self._bucket, "Prefix": prefix.decode(), "MaxKeys": PAGE, **more}
            return await clients.control.list_objects_v2(**arguments)

        return await self._retried(ask, f"listing {prefix.decode()!r} of {self.identity}")

    async def _get(self, key: bytes, start: int, stop: int, match: Match) -> Answer:
        if _PLAIN.fullmatch(key):
            return await self._get_plain(key, start, stop, match)
        clients = await self._clients.get()
        wanted = {"Range": f"bytes={start}-{stop - 1}"} if stop > start else {}
        answer = await clients.control.get_object(Bucket=self._bucket, Key=key.decode(), **wanted, **_conditions(match))
        return BotoAnswer(_checked(_boto_head(key, answer, _whole_size(answer)), match), answer["Body"])

    async def _get_plain(self, key: bytes, start: int, stop: int, match: Match) -> Answer:
        clients = await self._clients.get()
        options: Any = {"range": (start, stop)} if stop > start else {}
        if match.version:
            options["version"] = match.version
        elif match.etag:
            options["if_match"] = f'"{match.etag}"'
        result = await obstore.get_async(clients.bytes, key.decode(), options=options)
        return RustAnswer(_checked(_rust_head(key, result), match), result)

    async def _retried(self, call: Callable[[], Awaitable[T]], what: str) -> T:
        """The only place that retries. Each try has the first byte's deadline."""
        failures = 0
        while True:
            try:
                async with asyncio.timeout(self._limits.first_byte_s):
                    answer = await call()
            except FOREIGN as exc:
                error = origin_error(exc, what)
                error.__cause__ = exc
            except OriginError as exc:
                error = exc
            else:
                self._budget.earn()
                return answer
            failures += 1
            if not await self._may_retry(failures, error):
                raise error

    async def _may_retry(self, failures: int, error: OriginError) -> bool:
        wait = wait_s(self._limits.retry, failures, error, self._random)
        if wait is None or not self._budget.spend():
            return False
        await asyncio.sleep(wait)
        return True

    def _what(self, key: bytes) -> str:
        return f"object {key.decode(errors='replace')!r} of {self.identity}"


def _conditions(match: Match) -> dict[str, str]:
    if match.version:
        return {"VersionId": match.version}
    return {"IfMatch": f'"{match.etag}"'} if match.etag else {}


def _checked(head: ObjectHead, match: Match) -> ObjectHead:
    """Some stores ignore If-Match: what came is compared as well."""
    found = head.object
    if match.etag and found.etag and found.etag != match.etag:
        raise OriginChanged(f"object {found.key.decode(errors='replace')!r}: ETag is {found.etag}, not {match.etag}")
    if match.size is not None and found.size != match.size:
        raise OriginChanged(f"object {found.key.decode(errors='replace')!r}: {found.size} bytes, not {match.size}")
    return head


def _listed(entry: Mapping[str, Any]) -> OriginObject:
    return OriginObject(
        entry["Key"].encode(), entry["Size"], _milliseconds(entry["LastModified"]), entry.get("ETag", "").strip('"')
    )


def _boto_head(key: bytes, answer: Mapping[str, Any], size: int) -> ObjectHead:
    version = answer.get("VersionId")
    found = OriginObject(
        key,
        size,
        _milliseconds(answer["LastModified"]),
        answer.get("ETag", "").strip('"'),
        None if version == "null" else version,
    )
    headers = {ours: answer[theirs] for theirs, ours in _HEADERS.items() if answer.get(theirs)}
    meta = {f"x-amz-meta-{name.lower()}": value for name, value in answer.get("Metadata", {}).items()}
    return ObjectHead(found, headers | meta)


def _rust_head(key: bytes, result: Any) -> ObjectHead:
    meta = result.meta
    etag = (meta["e_tag"] or "").strip('"')
    found = OriginObject(key, meta["size"], _milliseconds(meta["last_modified"]), etag, meta["version"])
    named = {name.lower(): value for name, value in result.attributes.items()}
    headers = {
        name if name in _HEADERS.values() else f"x-amz-meta-{name}": value for name, value in named.items() if value
    }
    return ObjectHead(found, headers)


def _whole_size(answer: Mapping[str, Any]) -> int:
    """Of the object, from Content-Range where only a part of it comes."""
    if total := answer.get("ContentRange", "").rpartition("/")[2]:
        return int(total)
    return int(answer["ContentLength"])


def _milliseconds(moment: Any) -> int:
    """Whole seconds: a listing may know more than a header does, and both must agree."""
    return int(moment.timestamp()) * 1000
