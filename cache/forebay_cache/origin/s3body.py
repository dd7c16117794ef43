"""Bodies of GETs: one answer, and a body that goes on with another answer where one broke off."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

from forebay_cache.model.errors import OriginBadAnswer, OriginError
from forebay_cache.origin.base import ObjectHead
from forebay_cache.origin.retry import Attempts
from forebay_cache.origin.s3answers import show
from forebay_cache.origin.s3errors import FOREIGN, broken_body

BUFFER = 256 << 10


class Answer(Protocol):
    """The answer to one GET. `receive` gives the next bytes; none at its end."""

    @property
    def head(self) -> ObjectHead: ...
    async def receive(self) -> memoryview: ...
    async def aclose(self) -> None: ...


class RustAnswer:
    """obstore's. Dropping its stream closes the connection."""

    def __init__(self, head: ObjectHead, result: Any) -> None:
        self.head = head
        self._stream = result.stream(min_chunk_size=BUFFER)

    async def receive(self) -> memoryview:
        return memoryview(await anext(self._stream, b""))

    async def aclose(self) -> None:
        self._stream = None


class BotoAnswer:
    """aiobotocore's."""

    def __init__(self, head: ObjectHead, body: Any) -> None:
        self.head = head
        self._body = body

    async def receive(self) -> memoryview:
        return memoryview(await self._body.read(BUFFER))

    async def aclose(self) -> None:
        self._body.close()


Open = Callable[[int], Awaitable[Answer]]
"""Bytes received so far -> the answer that goes on from there, of the same version. Retries inside, by the same attempts."""


class ResumingBody:
    """Implements Body: `size` bytes, through as many answers as `attempts` allow. `done` is called once, at the end."""

    def __init__(self, answer: Answer, size: int, attempts: Attempts, reopen: Open, done: Callable[[], None]) -> None:
        self.head = answer.head
        self._answer: Answer | None = answer
        self._size = size
        self._attempts = attempts
        self._reopen = reopen
        self._done = done
        self._what = f"object {show(answer.head.object.key)}"

    async def __aiter__(self) -> AsyncIterator[memoryview]:
        received = 0
        while received < self._size:
            self._attempts.progressed()
            buffer = await self._next(received)
            received += len(buffer)
            yield buffer

    async def aclose(self) -> None:
        """Idempotent."""
        done, self._done = self._done, lambda: None
        done()
        await self._drop()

    async def _next(self, received: int) -> memoryview:
        while True:
            try:
                return await self._receive(received)
            except OriginError as exc:
                await self._drop()
                wait = self._attempts.wait_s(exc)
                if wait is None:
                    raise
            await asyncio.sleep(wait)
            self._answer = await self._reopen(received)

    async def _receive(self, received: int) -> memoryview:
        if self._answer is None:
            raise RuntimeError(f"{self._what}: read after it was closed")
        try:
            async with asyncio.timeout(self._attempts.idle_s()):
                buffer = await self._answer.receive()
        except FOREIGN as exc:
            raise broken_body(exc, f"{self._what}: the body broke off after {received} of {self._size} bytes") from exc
        if not buffer:
            raise OriginBadAnswer(f"{self._what}: the body ended after {received} of {self._size} bytes")
        if received + len(buffer) > self._size:
            raise OriginBadAnswer(f"{self._what}: more than the {self._size} bytes that were asked for")
        return buffer

    async def _drop(self) -> None:
        answer, self._answer = self._answer, None
        if answer:
            await answer.aclose()
