"""Bodies of GETs: one answer, and a body that goes on with another answer where one broke off."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

from forebay_cache.model.errors import OriginBadAnswer, OriginError
from forebay_cache.origin.base import ObjectHead
from forebay_cache.origin.s3errors import FOREIGN, origin_error

BUFFER = 256 << 10


class Answer(Protocol):
    """The answer to one GET."""

    @property
    def head(self) -> ObjectHead: ...
    def buffers(self) -> AsyncIterator[memoryview]: ...
    async def aclose(self) -> None: ...


class RustAnswer:
    """obstore's. Dropping its stream closes the connection."""

    def __init__(self, head: ObjectHead, result: Any) -> None:
        self.head = head
        self._stream = result.stream(min_chunk_size=BUFFER)

    async def buffers(self) -> AsyncIterator[memoryview]:
        async for buffer in self._stream:
            yield memoryview(buffer)

    async def aclose(self) -> None:
        self._stream = None


class BotoAnswer:
    """aiobotocore's."""

    def __init__(self, head: ObjectHead, body: Any) -> None:
        self.head = head
        self._body = body

    async def buffers(self) -> AsyncIterator[memoryview]:
        while data := await self._body.read(BUFFER):
            yield memoryview(data)

    async def aclose(self) -> None:
        self._body.close()


Reopen = Callable[[int, OriginError], Awaitable[Answer | None]]
"""(bytes received so far, what broke the answer) -> the answer that goes on from there; None: give up."""


class ResumingBody:
    """Implements Body: `size` bytes, through as many answers as it takes and `reopen` allows."""

    def __init__(self, answer: Answer, size: int, idle_s: float, reopen: Reopen, done: Callable[[], None]) -> None:
        self.head = answer.head
        self._answer = answer
        self._size = size
        self._idle_s = idle_s
        self._reopen = reopen
        self._done = done
        self._what = f"object {answer.head.object.key.decode(errors='replace')!r}"

    async def __aiter__(self) -> AsyncIterator[memoryview]:
        received = 0
        while received < self._size:
            try:
                async for buffer in self._timed(self._answer.buffers()):
                    received += len(buffer)
                    if received > self._size:
                        raise OriginBadAnswer(f"{self._what}: more than the {self._size} bytes that were asked for")
                    yield buffer
                if received < self._size:
                    raise OriginBadAnswer(f"{self._what}: the body ended after {received} of {self._size} bytes")
            except OriginError as exc:
                await self._answer.aclose()
                answer = await self._reopen(received, exc)
                if answer is None:
                    raise
                self._answer = answer

    async def _timed(self, buffers: AsyncIterator[memoryview]) -> AsyncIterator[memoryview]:
        while True:
            try:
                async with asyncio.timeout(self._idle_s):
                    buffer = await anext(buffers, None)
            except FOREIGN as exc:
                raise origin_error(exc, self._what) from exc
            if buffer is None:
                return
            yield buffer

    async def aclose(self) -> None:
        """Idempotent."""
        done, self._done = self._done, lambda: None
        done()
        await self._answer.aclose()
