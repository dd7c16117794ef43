"""The flights under way, by chunk: opens one, lets readers join it, lands it when the last has left."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import asynccontextmanager

from forebay_cache.model.errors import StoreError
from forebay_cache.model.ids import ChunkId
from forebay_cache.model.ranges import covered
from forebay_cache.read.flight import Flight, Run
from forebay_cache.store.base import Fill


class Flights:
    """At most one Fill of a chunk is open at a time; `reserve` opens it (blocking: runs in `pool`)."""

    def __init__(self, reserve: Callable[[ChunkId, int], Fill], run: Run, pool: Executor) -> None:
        self._reserve = reserve
        self._run = run
        self._pool = pool
        self._table: dict[ChunkId, asyncio.Task[Flight]] = {}
        self._landings: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._table)

    @asynccontextmanager
    async def join(self, chunk: ChunkId, length: int) -> AsyncIterator[Flight]:
        """The chunk's flight, opened if there is none. Raises StoreFull, StoreFailed."""
        flight = await self._entered(chunk, length)
        try:
            yield flight
        finally:
            flight.leave()

    async def aclose(self) -> None:
        """Ends every job and waits until every flight has landed. The readers must be gone."""
        for opening in self._table.values():
            if opening.done() and not opening.cancelled() and not opening.exception():
                opening.result().stop()
        while self._landings:
            await asyncio.wait(self._landings)

    async def _entered(self, chunk: ChunkId, length: int) -> Flight:
        while True:
            opening = self._table.get(chunk)
            if opening is None:
                opening = asyncio.ensure_future(self._open(chunk, length))
                self._table[chunk] = opening
            try:
                flight = await asyncio.shield(opening)
            except asyncio.CancelledError:
                opening.add_done_callback(self._abandon)
                raise
            if self._table.get(chunk) is opening:
                flight.enter()
                return flight

    def _abandon(self, opening: asyncio.Task[Flight]) -> None:
        """Who opened it was cancelled: land it, unless somebody else came aboard."""
        if opening.cancelled() or opening.exception():
            return
        flight = opening.result()
        if flight.empty:
            flight.enter()
            flight.leave()

    async def _open(self, chunk: ChunkId, length: int) -> Flight:
        loop = asyncio.get_running_loop()
        try:
            fill = await loop.run_in_executor(self._pool, self._reserve, chunk, length)
        except BaseException:
            del self._table[chunk]
            raise
        return Flight(fill, self._run, lambda flight: self._land(chunk, length, flight))

    def _land(self, chunk: ChunkId, length: int, flight: Flight) -> None:
        task = asyncio.ensure_future(self._landing(chunk, length, flight))
        self._landings.add(task)
        task.add_done_callback(self._landings.discard)

    async def _landing(self, chunk: ChunkId, length: int, flight: Flight) -> None:
        await flight.settle()
        async with flight.landing:  # one at a time: a fill must not be closed while another landing completes it
            if flight.empty and self._flies(chunk, flight):
                await self._complete(flight, length)
            # looked at anew after each wait: somebody may have come aboard, who will land it, or another landing has
            if flight.empty and self._flies(chunk, flight):
                del self._table[chunk]
                flight.fill.close()

    def _flies(self, chunk: ChunkId, flight: Flight) -> bool:
        opening = self._table.get(chunk)
        return opening is not None and opening.done() and opening.result() is flight

    async def _complete(self, flight: Flight, length: int) -> None:
        """If nothing is missing but what is gone; not where that is all of it."""
        left, gone = flight.fill.missing(0, length), flight.gone()
        if left in (flight.completed, [(0, length)]) or not all(covered(run, gone) for run in left):
            return
        before, flight.completed = flight.completed, left
        try:
            await asyncio.get_running_loop().run_in_executor(self._pool, flight.fill.complete, gone)
        except StoreError:
            flight.completed = before  # it stays partial, and readable
