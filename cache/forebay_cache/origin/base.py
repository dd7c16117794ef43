"""What every origin can do. Conformance checks: tests/conformance/origin."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class OriginObject:
    """One object as a listing shows it.

    `etag` is unquoted; "" where the store gives none. `version` names these bytes for ever, where the store has versions.
    `mtime_ms` is milliseconds since the epoch. Keys are bytes (UTF-8 at most stores), never normalised.
    """

    key: bytes
    size: int
    mtime_ms: int
    etag: str
    version: str | None = None


@dataclass(frozen=True, slots=True)
class ObjectHead:
    """An object and the response headers a reader expects back: lower-case names, only Content-Type, Content-Encoding,
    Content-Disposition, Content-Language, Cache-Control and x-amz-meta-*."""

    object: OriginObject
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Match:
    """The bytes that are meant: what a commit recorded. Empty fields are not checked."""

    etag: str = ""
    version: str | None = None
    size: int | None = None


class Body(Protocol):
    """An answer under way. `async for buffer in body` yields its bytes in order (each buffer of any size, valid until the
    next step) and raises OriginBadAnswer when they end early. Always `aclose()` it; that aborts what is left."""

    @property
    def head(self) -> ObjectHead: ...
    def __aiter__(self) -> AsyncIterator[memoryview]: ...
    async def aclose(self) -> None: ...


class Origin(Protocol):
    """Bytes and listings of one bucket or directory.

    Every call ends within the origin's own deadlines and retries inside (never wrap it in another retry).
    Raises: OriginMissing, OriginChanged, OriginDenied, OriginThrottled, OriginUnavailable, OriginBadAnswer.
    """

    @property
    def identity(self) -> str:
        """Canonical (scheme, endpoint, region, bucket), or the source's `identity`: goes into segment ids, holds no secret."""
        ...

    @property
    def strong(self) -> bool:
        """Whether an ETag or version always determines the bytes. If not, sync salts segment ids."""
        ...

    @property
    def held(self) -> float | None:
        """Requests a second that the most held-back prefix gets since this origin asked for fewer; None: none is held back."""
        ...

    async def head(self, key: bytes, match: Match = Match()) -> ObjectHead: ...

    async def read(self, key: bytes, start: int, stop: int, match: Match = Match()) -> Body:
        """Bytes [start, stop) of the object; [0, 0) of an empty one is allowed."""
        ...

    async def prefixes(self, prefix: bytes, delimiter: bytes = b"/") -> list[bytes]:
        """Common prefixes one level below `prefix`, sorted, at most 1,000: what a parallel listing is split by."""
        ...

    def list(self, prefix: bytes, start_after: bytes = b"") -> AsyncIterator[list[OriginObject]]:
        """Pages of objects below `prefix` in byte order of keys, all greater than `start_after`."""
        ...

    async def aclose(self) -> None: ...
