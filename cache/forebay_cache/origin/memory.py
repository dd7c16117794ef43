"""An origin in memory that answers like the real ones, with versions, latency and faults on demand, and counts what it was
asked. Deterministic: clock and sleep are passed in, and it draws nothing by chance."""

import asyncio
import hashlib
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from forebay_cache.model.errors import OriginBadAnswer, OriginChanged, OriginError, OriginMissing
from forebay_cache.origin.base import Body, Match, ObjectHead, OriginObject

PAGE = 1000
PREFIXES = 1000
BUFFER = 256 << 10
REMEMBERED = 10_000
"""Calls that `MemoryOrigin.calls` keeps: the latest."""

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Call:
    """One request as the store got it; `list` counts its pages. `key` is the prefix of a listing."""

    kind: Literal["head", "read", "prefixes", "list"]
    key: bytes
    start: int = 0
    stop: int = 0
    match: Match = field(default_factory=Match)


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one call; the fields may be combined.

    `error` is raised in place of an answer. `latency_s` passes before it, on top of the origin's own. `truncate`: the body
    ends after so many bytes, with OriginBadAnswer. `etag`: the object has this one instead. `drip`: buffers of so many
    bytes, `drip_s` apart.
    """

    error: OriginError | None = None
    latency_s: float = 0.0
    truncate: int | None = None
    etag: str | None = None
    drip: int = BUFFER
    drip_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Version:
    head: ObjectHead
    data: bytes


@dataclass(frozen=True, slots=True)
class Clock:
    """The time of a store in memory. `latency_s` passes before each answer; `now_ms` dates what is put."""

    latency_s: float = 0.0
    now_ms: Callable[[], int] = lambda: 0
    sleep: Sleep = asyncio.sleep


class MemoryOrigin:
    """Implements Origin.

    `fault` is asked at each call and may be replaced at any time. `versioned`: older versions stay readable by
    `Match.version`.
    """

    def __init__(
        self,
        objects: Mapping[bytes, bytes] | None = None,
        *,
        identity: str = "memory",
        strong: bool = True,
        versioned: bool = False,
        clock: Clock = Clock(),
    ) -> None:
        self.identity = identity
        self.strong = strong
        self.held: float | None = None
        self.fault: Callable[[Call], Fault | None] = lambda _: None
        self.calls: deque[Call] = deque(maxlen=REMEMBERED)
        self.counts: Counter[str] = Counter()
        """Calls by kind since the beginning."""
        self.bytes_sent = 0
        self.bodies_open = 0
        self._versioned = versioned
        self._latency_s = clock.latency_s
        self._now_ms = clock.now_ms
        self.sleep = clock.sleep
        self._current: dict[bytes, _Version] = {}
        self._versions: dict[tuple[bytes, str], _Version] = {}
        for key, data in (objects or {}).items():
            self.put(key, data)

    def __repr__(self) -> str:
        return f"<MemoryOrigin {self.identity} {len(self._current)} objects>"

    def put(self, key: bytes, data: bytes, headers: Mapping[str, str] | None = None) -> OriginObject:
        """A new object, or a new version of one."""
        version = f"v{len(self._versions) + 1}" if self._versioned else None
        etag = hashlib.md5(data, usedforsecurity=False).hexdigest()
        found = OriginObject(key, len(data), self._now_ms(), etag, version)
        self._current[key] = _Version(ObjectHead(found, dict(headers or {})), data)
        if version:
            self._versions[key, version] = self._current[key]
        return found

    def delete(self, key: bytes) -> None:
        """Its versions stay, as behind a delete marker."""
        del self._current[key]

    async def head(self, key: bytes, match: Match = Match()) -> ObjectHead:
        fault = await self._asked(Call("head", key, match=match))
        return self._find(key, match, fault).head

    async def read(self, key: bytes, start: int, stop: int, match: Match = Match()) -> Body:
        fault = await self._asked(Call("read", key, start, stop, match))
        found = self._find(key, match, fault)
        if stop > len(found.data):
            raise OriginChanged(f"object {key!r}: {len(found.data)} bytes, but bytes up to {stop} were asked for")
        self.bodies_open += 1
        return _MemoryBody(self, found.head, memoryview(found.data)[start:stop], fault)

    async def prefixes(self, prefix: bytes, delimiter: bytes = b"/") -> list[bytes]:
        await self._asked(Call("prefixes", prefix))
        cuts = ((key, key.find(delimiter, len(prefix))) for key in self._current if key.startswith(prefix))
        return sorted({key[: cut + len(delimiter)] for key, cut in cuts if cut >= 0})[:PREFIXES]

    async def list(self, prefix: bytes, start_after: bytes = b"") -> AsyncIterator[list[OriginObject]]:
        while True:
            await self._asked(Call("list", prefix))
            keys = sorted(key for key in self._current if key.startswith(prefix) and key > start_after)
            if page := [_listed(self._current[key]) for key in keys[:PAGE]]:
                start_after = page[-1].key
                yield page
            if len(keys) <= PAGE:
                return

    async def aclose(self) -> None:
        """Nothing is held."""

    async def _asked(self, call: Call) -> Fault:
        self.calls.append(call)
        self.counts[call.kind] += 1
        fault = self.fault(call) or Fault()
        await self.sleep(self._latency_s + fault.latency_s)  # also of 0: others run meanwhile, as with a real origin
        if fault.error:
            raise fault.error
        return fault

    def _find(self, key: bytes, match: Match, fault: Fault) -> _Version:
        version = self._versions.get((key, match.version)) if match.version else self._current.get(key)
        if version is None:
            raise OriginMissing(f"object {key!r} of {self.identity}: there is none")
        if fault.etag is not None:
            head = replace(version.head, object=replace(version.head.object, etag=fault.etag))
            version = replace(version, head=head)
        found = version.head.object
        if (match.etag and match.etag != found.etag) or (match.size is not None and match.size != found.size):
            raise OriginChanged(f"object {key!r} of {self.identity}: {found.size} bytes, ETag {found.etag}")
        return version


class _MemoryBody:
    """Implements Body."""

    def __init__(self, origin: MemoryOrigin, head: ObjectHead, data: memoryview, fault: Fault) -> None:
        self.head = head
        self._origin = origin
        self._data = data
        self._fault = fault
        self._open = True

    async def __aiter__(self) -> AsyncIterator[memoryview]:
        fault = self._fault
        end = len(self._data) if fault.truncate is None else min(fault.truncate, len(self._data))
        for at in range(0, end, fault.drip):
            if fault.drip_s:
                await self._origin.sleep(fault.drip_s)
            buffer = self._data[at : min(at + fault.drip, end)]
            self._origin.bytes_sent += len(buffer)
            yield buffer
        if end < len(self._data):
            what = f"object {self.head.object.key!r}"
            raise OriginBadAnswer(f"{what}: the body ended after {end} of {len(self._data)} bytes")

    async def aclose(self) -> None:
        self._origin.bodies_open -= self._open
        self._open = False


def _listed(version: _Version) -> OriginObject:
    """As S3 lists: without versions."""
    return replace(version.head.object, version=None)
