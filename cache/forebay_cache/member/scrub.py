"""Reads every chunk of the store back, slowly and for ever, and has those refilled that are bad."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from forebay_cache.model.errors import ForebayError, StoreError
from forebay_cache.model.ids import ChunkId
from forebay_cache.store.base import Scrubbed, Store

log = logging.getLogger("forebay.scrub")
PASS_S = 14 * 86_400.0
"""One pass over the store, at most as slow as this: two weeks."""
MOST_BYTES_S = 32 << 20
"""A pass over a large store takes longer rather than more of the disk than this."""
IDLE_S = 600.0
"""At most this long between two chunks, also where there are few, none, or where the disk fails."""


@dataclass(slots=True)
class ScrubCounters:
    """Since the member started. `passes`: how often the end of the store was reached."""

    chunks: int = 0
    bytes: int = 0
    bad: int = 0
    passes: int = 0


def pause_s(size: int, chunks: int) -> float:
    """Seconds between a chunk of `size` bytes and the next, of `chunks` in all. Pure."""
    return max(size / MOST_BYTES_S, min(PASS_S / max(chunks, 1), IDLE_S))


class Scrub:
    """`run` goes on until cancelled. `begin`: the cursor to begin after; random, so that a member which is restarted every
    day comes to every chunk all the same. `refill` is told of a bad chunk; it may raise ForebayError."""

    def __init__(self, store: Store, pool: Executor, refill: Callable[[ChunkId], None], begin: int) -> None:
        self._store, self._pool, self._refill = store, pool, refill
        self._cursor, self._whole = begin, False
        self.counters = ScrubCounters()

    async def run(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        while True:
            try:
                await sleep(await self.step())
            except StoreError as exc:
                log.warning("cannot read the store back", extra={"reason": str(exc)})
                await sleep(IDLE_S)

    async def step(self) -> float:
        """One chunk. -> seconds to wait before the next. Raises StoreError."""
        found = await asyncio.get_running_loop().run_in_executor(self._pool, self._store.scrub, self._cursor)
        if found is None:
            self.counters.passes += self._whole
            self._cursor, self._whole = -1, False
            return IDLE_S
        self._whole = self._whole or self._cursor < 0
        self._cursor = found.cursor
        self._count(found)
        return pause_s(found.size, self._store.stats().chunks)

    def _count(self, found: Scrubbed) -> None:
        self.counters.chunks += 1
        self.counters.bytes += found.size
        if found.good:
            return
        self.counters.bad += 1
        try:
            self._refill(found.chunk)
        except ForebayError as exc:  # of no Dataset any more, say: whoever still reads it will fill it
            log.info("bad chunk not fetched again", extra={"chunk": str(found.chunk), "reason": str(exc)})
