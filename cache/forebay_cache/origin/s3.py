"""An S3 bucket as origin: obstore moves the bytes, aiobotocore does the rest.

obstore costs 0.1-0.2 ms of CPU a GET against 0.7 ms, but cannot address some keys (empty, `.` and `..` components, control
characters); those go through aiobotocore, which sends every key as it is.
"""

import asyncio
import random as randomness
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

import obstore

from forebay_cache.contract.config import Credentials, S3Source
from forebay_cache.model.errors import OriginDenied, OriginError, OriginMissing, OriginThrottled, OriginUnavailable
from forebay_cache.origin.base import Body, Match, ObjectHead, OriginObject
from forebay_cache.origin.limits import OriginLimits
from forebay_cache.origin.pace import Paces
from forebay_cache.origin.retry import Attempts, RetryBudget
from forebay_cache.origin.s3answers import (
    check_range,
    checked,
    head_of_boto,
    head_of_rust,
    listed,
    ordered,
    range_of_boto,
    show,
    whole,
)
from forebay_cache.origin.s3body import Answer, BotoAnswer, ResumingBody, RustAnswer
from forebay_cache.origin.s3clients import S3Clients
from forebay_cache.origin.s3errors import FOREIGN, origin_error

T = TypeVar("T")
PAGE = 1000
PREFIXES = 1000
PREFIX_PAGES = 10
_PLAIN = re.compile(r"(?!.*(^|/)\.{0,2}(/|$))[^\x00-\x1f\x7f]+", re.DOTALL).fullmatch
"""Keys that obstore sends unchanged; seen on a real store in tests/conformance/origin."""


class S3Origin:
    """Implements Origin. An ETag or version always determines the bytes here. `random` is uniform in [0, 1)."""

    strong = True

    def __init__(
        self,
        source: S3Source,
        credentials: Credentials | None = None,
        limits: OriginLimits | None = None,
        now: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = randomness.random,
    ) -> None:
        self._bucket = source.bucket
        self._limits = limits or OriginLimits()
        self._clients = S3Clients(source, credentials, self._limits, now)
        self._budget = RetryBudget(self._limits.retry)
        self._gate, self._waiting = asyncio.Semaphore(self._limits.concurrency), 0
        self._paces = Paces(self._limits.pace, now)
        self._now = now
        self._random = random
        self.identity = identity_of(source)

    def __repr__(self) -> str:
        return f"<S3Origin {self.identity}>"

    async def head(self, key: bytes, match: Match = Match()) -> ObjectHead:
        what = self._what(key)
        name = _name(key, what)

        async def ask() -> ObjectHead:
            control = await self._clients.control()
            answer = await control.head_object(Bucket=self._bucket, Key=name, **_conditions(match))
            return checked(head_of_boto(key, answer), match)

        return await self._retried(ask, what, self._attempts(key))

    async def read(self, key: bytes, start: int, stop: int, match: Match = Match()) -> Body:
        what, attempts = self._what(key), self._attempts(key)
        _name(key, what)

        async def resume(received: int) -> Answer:
            return await self._retried(lambda: self._get(key, start + received, stop, pinned), what, attempts)

        await self._enter(attempts)
        try:
            answer = await self._retried(lambda: self._get(key, start, stop, match), what, attempts)
        except BaseException:
            self._gate.release()
            raise
        found = answer.head.object
        # what goes on later must be of the version that it began with, whatever the caller asked for
        pinned = Match(found.etag, found.version, found.size)
        return ResumingBody(answer, stop - start, attempts, resume, self._gate.release)

    async def prefixes(self, prefix: bytes, delimiter: bytes = b"/") -> list[bytes]:
        """Looks at 10 pages at most: a level may hold millions of keys before its first prefix."""
        found: list[bytes] = []
        more: dict[str, Any] = {"Delimiter": delimiter.decode()}
        for _ in range(PREFIX_PAGES):
            page = await self._page(prefix, more)
            found += (entry["Prefix"].encode() for entry in page.get("CommonPrefixes", ()))
            if not page.get("IsTruncated") or len(found) >= PREFIXES:
                break
            more["ContinuationToken"] = page["NextContinuationToken"]
        return sorted(found)[:PREFIXES]

    async def list(self, prefix: bytes, start_after: bytes = b"") -> AsyncIterator[list[OriginObject]]:
        last = start_after
        more: dict[str, Any] = {"StartAfter": _text(start_after, self.identity)} if start_after else {}
        while True:
            page = await self._page(prefix, more)
            if found := ordered(listed(page), last):
                last = found[-1].key
                yield found
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    @property
    def held(self) -> float | None:
        return self._paces.held

    async def aclose(self) -> None:
        await self._clients.aclose()

    async def _page(self, prefix: bytes, more: Mapping[str, Any]) -> Any:
        what = f"listing {show(prefix)} of {self.identity}"
        arguments = {"Bucket": self._bucket, "Prefix": _text(prefix, what), "MaxKeys": PAGE, **more}

        async def ask() -> Any:
            control = await self._clients.control()
            return whole(await control.list_objects_v2(**arguments), what)

        return await self._retried(ask, what, self._attempts(prefix))

    async def _get(self, key: bytes, start: int, stop: int, match: Match) -> Answer:
        name = key.decode()
        get = self._get_by_rust if _PLAIN(name) else self._get_by_boto
        answer, came = await get(name, (start, stop), match)
        try:
            checked(answer.head, match)
            check_range(answer.head, came, (start, stop))
        except OriginError:
            await answer.aclose()
            raise
        return answer

    async def _get_by_rust(self, name: str, wanted: tuple[int, int], match: Match) -> tuple[Answer, tuple[int, int]]:
        store = await self._clients.bytes()
        options: Any = {"range": wanted} if wanted[0] < wanted[1] else {}
        if match.version:
            options["version"] = match.version
        elif match.etag:
            options["if_match"] = f'"{match.etag}"'
        result = await obstore.get_async(store, name, options=options)
        return RustAnswer(head_of_rust(name.encode(), result), result), result.range

    async def _get_by_boto(self, name: str, wanted: tuple[int, int], match: Match) -> tuple[Answer, tuple[int, int]]:
        control = await self._clients.control()
        ranged = {"Range": f"bytes={wanted[0]}-{wanted[1] - 1}"} if wanted[0] < wanted[1] else {}
        answer = await control.get_object(Bucket=self._bucket, Key=name, **ranged, **_conditions(match))
        return BotoAnswer(head_of_boto(name.encode(), answer), answer["Body"]), range_of_boto(answer)

    async def _retried(self, call: Callable[[], Awaitable[T]], what: str, attempts: Attempts) -> T:
        """The only place that retries calls; the clients' own retries are off."""
        while True:
            await self._place(attempts)
            try:
                return await self._tried(call, what, attempts)
            except OriginError as exc:
                wait = attempts.wait_s(exc)
                if wait is None:
                    raise
            await asyncio.sleep(wait)

    async def _tried(self, call: Callable[[], Awaitable[T]], what: str, attempts: Attempts) -> T:
        sent_at = self._now()
        try:
            async with asyncio.timeout(attempts.first_byte_s()):
                answer = await call()
        except FOREIGN as exc:
            error = origin_error(exc, what)
            if isinstance(error, OriginDenied):
                await self._clients.denied()
            elif isinstance(error, OriginThrottled):
                attempts.pace.refused(sent_at)
            raise error from exc
        attempts.succeeded()
        return answer

    async def _place(self, attempts: Attempts) -> None:
        """Waits until the origin may be asked."""
        wait = attempts.pace.wait_s(attempts.left_s())
        if wait is None:
            rate = f"at {attempts.pace.rate:.0f} a second this one's turn is too late"
            raise OriginThrottled(f"{self.identity} asked for fewer requests: {rate}")
        if wait > 0:
            await asyncio.sleep(wait)

    async def _enter(self, attempts: Attempts) -> None:
        if not self._gate.locked():
            await self._gate.acquire()  # at once, without the 15 us of a timeout
            return
        busy = f"{self.identity}: all {self._limits.concurrency} reads allowed at once are under way"
        if self._waiting >= self._limits.waiting:
            raise OriginThrottled(f"{busy} and {self._waiting} wait")
        self._waiting += 1
        try:
            async with asyncio.timeout(attempts.left_s()):
                await self._gate.acquire()
        except TimeoutError as exc:
            raise OriginUnavailable(busy) from exc
        finally:
            self._waiting -= 1

    def _attempts(self, key: bytes) -> Attempts:
        return Attempts(self._limits, self._budget, self._now, self._random, self._paces.of(key))

    def _what(self, key: bytes) -> str:
        return f"object {show(key)} of {self.identity}"


def identity_of(source: S3Source) -> str:
    """Canonical, so that two ways to write one endpoint are one origin."""
    if source.identity:
        return f"s3 {source.identity} {source.bucket}"
    if source.endpoint is None:
        return f"s3 aws {source.region} {source.bucket}"
    url = urlsplit(source.endpoint)
    port = "" if url.port in (None, {"http": 80, "https": 443}.get(url.scheme)) else f":{url.port}"
    place = f"{url.scheme}://{url.hostname}{port}{url.path.rstrip('/')}"
    return f"s3 {place} {source.region} {source.bucket}"


def _conditions(match: Match) -> dict[str, str]:
    if match.version:
        return {"VersionId": match.version}
    return {"IfMatch": f'"{match.etag}"'} if match.etag else {}


def _name(key: bytes, what: str) -> str:
    if not key:
        raise OriginMissing(f"{what}: no S3 object has an empty key")
    return _text(key, what)


def _text(key: bytes, what: str) -> str:
    try:
        return key.decode()
    except UnicodeDecodeError as exc:
        raise OriginMissing(f"{what}: not UTF-8, so no S3 object has this key") from exc
