"""The sources of a Dataset as one stream of objects sorted by path.

The first pages of a source are listed one after the other; most sources end there. What comes behind is cut at common
prefixes, and a few of these ranges are listed at once, each a bounded number of pages ahead, and kept in the checkpoint.
"""

import asyncio
import heapq
from bisect import bisect_left
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from itertools import pairwise
from operator import itemgetter

from forebay_cache.catalog.checkpoint import Checkpoint, Page, Range, Spool
from forebay_cache.catalog.leaf import KEY_LIMIT
from forebay_cache.catalog.packing import Place
from forebay_cache.model.errors import BadInput, OriginBadAnswer
from forebay_cache.origin.base import Origin, OriginObject

PARALLEL = 8
"""Ranges of one source listed at once."""
PAGES_AHEAD = 4
"""Pages of a range that wait to be taken."""
FIRST_PAGES = 4
"""Pages of a source that are listed before it is split."""
RANGES = 64
SPLITS = 8
"""Requests spent on finding where to cut."""


@dataclass(frozen=True, slots=True)
class Mapping:
    """One source: objects below `prefix` of `origin` appear below `path` of the Dataset."""

    path: bytes
    prefix: bytes
    origin: Origin
    salt: bytes

    @property
    def place(self) -> Place:
        return Place(self.origin.identity, self.salt)


@dataclass(frozen=True, slots=True)
class Listed:
    """Consecutive objects of a sync, each with its path, and the mapping they come by."""

    rows: Sequence[tuple[bytes, OriginObject]]
    mapping: Mapping


def ranges(first: Range, cuts: Sequence[bytes]) -> Sequence[Range]:
    """`first`, which is listed already, and what comes behind it, cut at some of `cuts` (sorted keys)."""
    behind = [cut for cut in cuts if cut > first.last]
    bounds = [first.last, *behind[:: -(-len(behind) // RANGES) or 1], b""]
    return [first, *(Range(after, last) for after, last in pairwise(bounds))]


async def listed(mappings: Sequence[Mapping], checkpoint: Checkpoint) -> AsyncGenerator[Listed, None]:
    """Everything, sorted by path; where two sources give one path, the source named first wins.

    Raises OriginError; BadInput for a path beyond KEY_LIMIT.
    """
    async with AsyncExitStack() as stack:
        streams = []
        for number, mapping in enumerate(mappings):
            streams.append(await stack.enter_async_context(aclosing(_paths(number, mapping, checkpoint))))
        merged = await stack.enter_async_context(aclosing(_merged(streams)))
        async for one in merged:
            yield one


async def _merged(streams: Sequence[AsyncGenerator[Listed, None]]) -> AsyncGenerator[Listed, None]:
    """Runs of rows: of the stream with the least path, all that come before the next stream's."""
    heads = [(one.rows[0][0], rank, one) for rank, stream in enumerate(streams) if (one := await anext(stream, None))]
    heapq.heapify(heads)
    last: bytes | None = None
    while heads:
        path, rank, one = heapq.heappop(heads)
        rows = one.rows
        stop = max(1, bisect_left(rows, heads[0][0], key=itemgetter(0))) if heads else len(rows)
        run = rows[path == last : stop]
        if run:
            yield Listed(run, one.mapping)
            last = run[-1][0]
        rest = Listed(rows[stop:], one.mapping) if stop < len(rows) else await anext(streams[rank], None)
        if rest:
            heapq.heappush(heads, (rest.rows[0][0], rank, rest))


async def _paths(number: int, mapping: Mapping, checkpoint: Checkpoint) -> AsyncGenerator[Listed, None]:
    """Pages with paths, sorted without doubt."""
    cut, last = len(mapping.prefix), b""
    async with aclosing(_pages(number, mapping, checkpoint)) as pages:
        async for page in pages:
            for found in page:
                if found.key <= last:
                    raise OriginBadAnswer(
                        f"{mapping.origin.identity}: its listing is not sorted: {found.key!r} after {last!r}"
                    )
                last = found.key
            rows = [(mapping.path + found.key[cut:], found) for found in page if len(found.key) > cut or mapping.path]
            if rows:
                _refuse_long(rows)
                yield Listed(rows, mapping)


def _refuse_long(rows: Sequence[tuple[bytes, OriginObject]]) -> None:
    longest = max(rows, key=lambda row: len(row[0]))[0]
    if len(longest) > KEY_LIMIT:
        raise BadInput(
            f"path {longest[:80]!r}... has {len(longest)} bytes, at most {KEY_LIMIT} can be kept; shorten it"
        )


async def _pages(number: int, mapping: Mapping, checkpoint: Checkpoint) -> AsyncGenerator[Page, None]:
    """By the plan of the checkpoint, if there is one; else the first pages, and then by a new plan."""
    origin, prefix = mapping.origin, mapping.prefix
    plan, done = checkpoint.plan(number), 0
    if plan is None:
        first, count = Range(), 0
        async with aclosing(_closable(origin.list(prefix))) as pages:
            async for page in pages:
                yield page
                first, count = Range(last=page[-1].key), count + 1
                if count == FIRST_PAGES:
                    break
        if count < FIRST_PAGES:
            return
        plan, done = ranges(first, await _cuts(origin, prefix)), 1
        checkpoint.keep_plan(number, plan)
    async with aclosing(_ahead(mapping, number, plan[done:], checkpoint, done)) as pages:
        async for page in pages:
            yield page


async def _cuts(origin: Origin, prefix: bytes) -> Sequence[bytes]:
    """Common prefixes below `prefix`, level by level until there are enough."""
    found: set[bytes] = set()
    waiting = deque([prefix])
    for _ in range(SPLITS):
        if not waiting or len(found) >= RANGES:
            break
        common = await origin.prefixes(waiting.popleft())
        found.update(common)
        waiting.extend(common)
    return sorted(found)


async def _ahead(
    mapping: Mapping, source: int, wanted: Sequence[Range], checkpoint: Checkpoint, first: int
) -> AsyncGenerator[Page, None]:
    """Pages of the ranges in order, PARALLEL of them being listed. `first`: number of the first one."""
    waiting = deque(enumerate(wanted, first))
    running: deque[_Lister] = deque()
    try:
        while waiting or running:
            while waiting and len(running) < PARALLEL:
                number, one = waiting.popleft()
                running.append(_Lister(mapping, one, checkpoint.spool(source, number)))
            async for page in running[0].pages():
                yield page
            await running.popleft().aclose()
    finally:
        for lister in running:
            await lister.aclose()


class _Lister:
    """Lists one range in a task, PAGES_AHEAD of who takes them."""

    def __init__(self, mapping: Mapping, wanted: Range, spool: Spool) -> None:
        self._mapping = mapping
        self._wanted = wanted
        self._spool = spool
        self._queue: asyncio.Queue[Page | None] = asyncio.Queue(PAGES_AHEAD)
        self._task = asyncio.ensure_future(self._list())

    async def pages(self) -> AsyncIterator[Page]:
        while page := await self._queue.get():
            yield page
        await self._task  # raises what ended the listing early

    async def aclose(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        self._spool.close()

    async def _list(self) -> None:
        try:
            await self._walk()
        except Exception:
            await self._queue.put(None)
            raise
        await self._queue.put(None)

    async def _walk(self) -> None:
        after = self._wanted.after
        for page in self._spool.pages():
            await self._queue.put(page)
            after = page[-1].key
        if self._spool.complete:
            return
        async with aclosing(_closable(self._mapping.origin.list(self._mapping.prefix, after))) as pages:
            async for page in pages:
                inside = self._inside(page)
                if inside:
                    self._spool.add(inside)
                    await self._queue.put(inside)
                if len(inside) < len(page):
                    break
        self._spool.end()

    def _inside(self, page: Page) -> Page:
        last = self._wanted.last
        return page if not last or page[-1].key <= last else [found for found in page if found.key <= last]


async def _closable(pages: AsyncIterator[Page]) -> AsyncGenerator[Page, None]:
    """`pages` without empty ones, as what can be closed, which closes them as well."""
    try:
        async for page in pages:
            if page:
                yield page
    finally:
        if isinstance(pages, AsyncGenerator):
            await pages.aclose()
