"""Who writes received bytes into a fill: the event loop itself what is small, a thread what is large.

Writing 100 KiB into the page cache takes 60 us; a thread's help with it costs 300 us of CPU, most of it in passing the GIL
to and fro, and at 600 objects a second many milliseconds of waiting for it. But a disk that is behind makes writers wait:
whoever meets that hands everything to threads for a while.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor

from forebay_cache.store.base import Fill

SMALL = 256 << 10
"""Bytes; a larger write would keep the loop for more than 0.2 ms."""
SLOW_S = 0.01
WARY_S = 5.0


class Writer:
    """One an event loop."""

    def __init__(self, pool: Executor, now: Callable[[], float]) -> None:
        self._pool = pool
        self._now = now
        self._wary_until = 0.0

    async def write(self, fill: Fill, at: int, data: bytes | bytearray | memoryview) -> None:
        """Whole blocks at `at` of the chunk; ends only when they are written or failed, also when it is cancelled. Raises
        StoreFull, StoreFailed."""
        began = self._now()
        if len(data) > SMALL or began < self._wary_until:
            await self._by_thread(fill, at, data)
            return
        try:
            fill.write(at, data)
        finally:
            now = self._now()
            if now - began > SLOW_S:
                self._wary_until = now + WARY_S

    async def _by_thread(self, fill: Fill, at: int, data: bytes | bytearray | memoryview) -> None:
        future = asyncio.get_running_loop().run_in_executor(self._pool, fill.write, at, data)
        try:
            await asyncio.shield(future)  # a thread cannot be stopped, and the fill must outlive its write
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise
