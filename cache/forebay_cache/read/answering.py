"""What this member gives to others: what its store has, and of its own chunks what it can bring. Nothing is forwarded."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, closing
from typing import Protocol

from forebay_cache.model.errors import (
    CatalogCorrupt,
    DeadlineExceeded,
    ForebayError,
    NotFound,
    OriginError,
    OriginThrottled,
    PartGone,
)
from forebay_cache.model.ids import MemberId
from forebay_cache.model.ranges import Span
from forebay_cache.read.base import Piece
from forebay_cache.read.peers import Peers
from forebay_cache.store.base import Lease
from forebay_cache.transfer.base import Absent, Ask, Other, Reason, Refused, Run, WrongEpoch

LANES = 8
"""Spans of one ask that are brought at once."""
_REASONS: tuple[tuple[type[ForebayError], Reason], ...] = (
    (PartGone, Reason.GONE),
    (OriginThrottled, Reason.THROTTLED),
    (OriginError, Reason.ORIGIN),
    (NotFound, Reason.UNKNOWN),
    (CatalogCorrupt, Reason.UNKNOWN),
    (DeadlineExceeded, Reason.DEADLINE),
    (ForebayError, Reason.FAILED),
)


class Bringer(Protocol):
    """What of the read path others may use."""

    def lease(self, span: Span) -> Lease | None: ...
    def brought(self, span: Span) -> AsyncGenerator[Piece, None]:
        """A miss, from here: by the previous owner's store or the origin."""
        ...


class Answering:
    """Implements transfer.base.Source."""

    def __init__(self, reader: Bringer, peers: Peers) -> None:
        self._reader = reader
        self._peers = peers

    async def answer(self, asker: MemberId, ask: Ask) -> AsyncGenerator[Run | Other, None]:
        """What the store has first, then what must be brought, as it comes."""
        missed: list[tuple[int, Span]] = []
        for index, span in enumerate(ask.spans):
            try:
                lease = self._reader.lease(span)
            except ValueError as exc:  # beyond its chunk
                yield Refused(index, Reason.FAILED, str(exc))
                continue
            if lease is not None:
                with closing(lease):
                    yield Run(index, lease.fd, span.start, span.stop, lease.sums_at)
            elif ask.store_only:
                yield Absent(index)
            elif not self._peers.owns(span.chunk):
                yield WrongEpoch(index, self._peers.epoch)
            else:
                missed.append((index, span))
        if missed:
            async with aclosing(self._all_brought(missed)) as found:
                async for one in found:
                    yield one

    async def _all_brought(self, missed: Sequence[tuple[int, Span]]) -> AsyncGenerator[Run | Other, None]:
        """A few at a time, in the order in which bytes come."""
        rest, found = iter(missed), _Handover()
        lanes = [asyncio.ensure_future(self._lane(rest, found)) for _ in range(min(LANES, len(missed)))]
        ended = asyncio.gather(*lanes)
        ended.add_done_callback(lambda _: found.end())
        try:
            async with aclosing(found.taken()) as taken:
                async for one in taken:
                    yield one
            await ended
        finally:
            for lane in lanes:
                lane.cancel()
            await asyncio.wait(lanes)

    async def _lane(self, rest: Iterator[tuple[int, Span]], found: "_Handover") -> None:
        for index, span in rest:
            try:
                async with aclosing(self._reader.brought(span)) as pieces:
                    async for piece in pieces:
                        stop = piece.offset + piece.length
                        await found.give(Run(index, piece.fd, piece.offset, stop, piece.sums_at))
            except (ForebayError, ValueError) as exc:
                await found.give(Refused(index, _reason(exc), str(exc)))


class _Handover:
    """What lanes found, one at a time: a run is valid only until its lane goes on."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[tuple[Run | Other, asyncio.Event] | None] = asyncio.Queue()

    async def give(self, one: Run | Other) -> None:
        """Returns when it was used."""
        used = asyncio.Event()
        self._queue.put_nowait((one, used))
        await used.wait()

    def end(self) -> None:
        self._queue.put_nowait(None)

    async def taken(self) -> AsyncGenerator[Run | Other, None]:
        while (item := await self._queue.get()) is not None:
            yield item[0]
            item[1].set()


def _reason(exc: Exception) -> Reason:
    return next((reason for kind, reason in _REASONS if isinstance(exc, kind)), Reason.FAILED)
