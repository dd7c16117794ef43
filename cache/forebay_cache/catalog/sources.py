"""The sources of a Dataset as one stream of objects sorted by path.

A source is split at its common prefixes, and a few of the ranges are listed at once, each a bounded number of pages ahead.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from forebay_cache.catalog.packing import Listed
from forebay_cache.origin.base import Origin, OriginObject

PARALLEL = 8
"""Ranges of one source listed at once."""
PAGES_AHEAD = 4
"""Pages of a range that wait to be taken."""
SPLIT_LIMIT = 999
"""A source with more common prefixes than this is listed in one range: an origin tells no more than 1,000."""
_HIGHEST = "\U0010ffff".encode()
_Page = list[OriginObject]


@dataclass(frozen=True, slots=True)
class Mapping:
    """One source: objects below `prefix` of `origin` appear below `path` of the Dataset."""

    path: bytes
    prefix: bytes
    origin: Origin
    salt: bytes


@dataclass(frozen=True, slots=True)
class Range:
    """Keys with `prefix`, greater than `after`, less than `before` (b"": no bound)."""

    prefix: bytes
    after: bytes = b""
    before: bytes = b""


def ranges(prefix: bytes, common: Sequence[bytes]) -> Sequence[Range]:
    """Splits what lies below `prefix` at its common prefixes, in order: the gap before each, and each."""
    if not 2 <= len(common) <= SPLIT_LIMIT:
        return [Range(prefix)]
    found = [Range(prefix, before=common[0])]
    for this, following in zip(common, [*common[1:], b""], strict=True):
        found += [Range(this), Range(prefix, after=this + _HIGHEST, before=following)]
    return found


async def listed(mappings: Sequence[Mapping]) -> AsyncGenerator[Listed, None]:
    """Everything, sorted by path; where two sources give one path, the source named first wins."""
    streams = [_objects(rank, mapping) for rank, mapping in enumerate(mappings)]
    try:
        heads = [head for stream in streams if (head := await anext(stream, None))]
        heapq.heapify(heads)
        last: bytes | None = None
        while heads:
            path, rank, one = heapq.heappop(heads)
            if path != last:
                yield one
                last = path
            if head := await anext(streams[rank], None):
                heapq.heappush(heads, head)
    finally:
        for stream in streams:
            await stream.aclose()


async def _objects(rank: int, mapping: Mapping) -> AsyncGenerator[tuple[bytes, int, Listed], None]:
    common = await mapping.origin.prefixes(mapping.prefix)
    async with aclosing(_ahead(mapping.origin, ranges(mapping.prefix, common))) as pages:
        async for page in pages:
            for found in page:
                path = mapping.path + found.key.removeprefix(mapping.prefix)
                if path:
                    yield path, rank, Listed(path, found, mapping.origin.identity, mapping.salt)


async def _ahead(origin: Origin, wanted: Sequence[Range]) -> AsyncGenerator[_Page, None]:
    """Pages of the ranges in order, PARALLEL of them being listed."""
    waiting = deque(wanted)
    running: deque[_Lister] = deque()
    try:
        while waiting or running:
            while waiting and len(running) < PARALLEL:
                running.append(_Lister(origin, waiting.popleft()))
            async for page in running[0].pages():
                yield page
            running.popleft()
    finally:
        for lister in running:
            await lister.aclose()


class _Lister:
    """Lists one range in a task, PAGES_AHEAD of who takes them."""

    def __init__(self, origin: Origin, wanted: Range) -> None:
        self._queue: asyncio.Queue[_Page | None] = asyncio.Queue(PAGES_AHEAD)
        self._task = asyncio.ensure_future(self._list(origin, wanted))

    async def pages(self) -> AsyncIterator[_Page]:
        while page := await self._queue.get():
            yield page
        await self._task  # raises what ended the listing early

    async def aclose(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _list(self, origin: Origin, wanted: Range) -> None:
        try:
            await self._walk(origin, wanted)
        except Exception:
            await self._queue.put(None)
            raise
        await self._queue.put(None)

    async def _walk(self, origin: Origin, wanted: Range) -> None:
        async for page in origin.list(wanted.prefix, wanted.after):
            inside = [found for found in page if not wanted.before or found.key < wanted.before]
            if inside:
                await self._queue.put(inside)
            if len(inside) < len(page):
                return
