"""Fetches nobody waits for: read-ahead, and the rest of a chunk of which one file was read."""

import asyncio
from collections.abc import Awaitable, Callable

from forebay_cache.model.errors import ForebayError
from forebay_cache.model.ranges import Span


class Background:
    """A bounded set of spans being fetched by a bounded number of tasks. What does not fit is dropped: it costs a later
    miss, never a wait."""

    def __init__(self, fetch: Callable[[Span], Awaitable[None]], *, workers: int, queued: int) -> None:
        self._fetch = fetch
        self._workers = workers
        self._queued = queued
        self._spans: dict[Span, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def offer(self, span: Span) -> None:
        if span in self._spans or len(self._spans) >= self._queued:
            return
        self._spans[span] = None
        if len(self._tasks) < self._workers:
            task = asyncio.ensure_future(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        self._spans.clear()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _work(self) -> None:
        while self._spans:
            span = next(iter(self._spans))
            del self._spans[span]
            try:
                await self._fetch(span)
            except ForebayError:
                continue  # counted where it happened; whoever needs these bytes will ask, and be told
