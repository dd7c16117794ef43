"""A source of chunks whose bytes follow from their names, a member that serves it, and a wire that breaks."""

import asyncio
import os
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from functools import cache

from forebay_cache.model.errors import NotFound
from forebay_cache.model.ids import CHUNK_SIZE, ChunkId, MemberId, SegmentId
from forebay_cache.model.ranges import Span
from forebay_cache.transfer.base import (
    Absent,
    Answer,
    Ask,
    Came,
    FileName,
    Folder,
    Other,
    Run,
    Transfer,
)
from forebay_cache.transfer.sums import sums

ME, OTHER, NOBODY = MemberId("me"), MemberId("other"), MemberId("nobody")
KEY = b"k" * 32


def chunk(number: int) -> ChunkId:
    return ChunkId(SegmentId(bytes(31) + b"\1"), number)


@cache
def content(name: ChunkId, length: int) -> bytes:
    return random.Random(f"{name} {length}").randbytes(length)


@cache
def content_sums(data: bytes) -> bytes:
    return sums(memoryview(data))


def ask(*spans: tuple[int, int, int], epoch: int = 1, store_only: bool = False, deadline_s: float = 10.0) -> Ask:
    """Spans as (chunk number, start, stop)."""
    return Ask(tuple(Span(chunk(n), start, stop) for n, start, stop in spans), epoch, store_only, deadline_s)


@dataclass
class Chunks:
    """Implements Source. `piece`: bytes of a run. `gate`: closed, nothing more comes. `say`: asked first for each span."""

    lengths: dict[int, int]
    piece: int = CHUNK_SIZE
    say: Callable[[int, Ask], Other | None] = lambda *_: None
    stored_sums: bool = True
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[tuple[MemberId, Ask]] = field(default_factory=list)
    leases: int = 0
    answering: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    async def answer(self, asker: MemberId, wanted: Ask) -> AsyncGenerator[Run | Other, None]:
        self.asked.append((asker, wanted))
        self.answering += 1
        try:
            for index, span in enumerate(wanted.spans):
                other = self.say(index, wanted) or (None if span.chunk.number in self.lengths else Absent(index))
                if other:
                    yield other
                    continue
                async with aclosing(self._runs(index, span)) as runs:
                    async for run in runs:
                        yield run
        finally:
            self.answering -= 1

    async def _runs(self, index: int, span: Span) -> AsyncGenerator[Run, None]:
        data = content(span.chunk, self.lengths[span.chunk.number])
        fd = os.memfd_create("chunk", os.MFD_CLOEXEC)
        self.leases += 1
        try:
            os.pwrite(fd, data, 0)
            os.pwrite(fd, content_sums(data), CHUNK_SIZE)
            for at in range(span.start, span.stop, self.piece):
                await self.gate.wait()
                yield Run(index, fd, at, min(at + self.piece, span.stop), CHUNK_SIZE if self.stored_sums else -1)
        finally:
            self.leases -= 1
            os.close(fd)

    def right(self, span: Span) -> bytes:
        return content(span.chunk, self.lengths[span.chunk.number])[span.start : span.stop]


@dataclass
class Given:
    """Implements FileSource over files in memory."""

    files: dict[FileName, bytes] = field(default_factory=dict)
    asked: list[FileName] = field(default_factory=list)

    def open(self, name: FileName) -> int:
        self.asked.append(name)
        if name not in self.files:
            raise NotFound("it is not here")
        fd = os.memfd_create("file", os.MFD_CLOEXEC)
        os.write(fd, self.files[name])
        return fd


def file_name(number: int, folder: Folder = Folder.LEAVES) -> FileName:
    return FileName(folder, bytes(31) + bytes([number]))


@dataclass
class Got:
    """What an ask brought, by span."""

    data: dict[int, bytes]
    others: dict[int, Other]


async def collect(transfer: Transfer, wanted: Ask, member: MemberId = OTHER) -> Got:
    data = {index: bytearray() for index in range(len(wanted.spans))}
    others: dict[int, Other] = {}
    async with aclosing(transfer.read(member, wanted)) as answers:
        async for answer in answers:
            note(answer, wanted, data, others)
    return Got({index: bytes(part) for index, part in data.items()}, others)


def note(answer: Answer, wanted: Ask, data: dict[int, bytearray], others: dict[int, Other]) -> None:
    if isinstance(answer, Came):
        assert answer.start == wanted.spans[answer.index].start + len(data[answer.index]), "in order"
        data[answer.index] += answer.data
    else:
        others[answer.index] = answer


class BadWire:
    """Forwards TCP to `port`; what a listener says goes wrong as set. Counted over all connections, greetings included."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.passed = 0
        self.lost_after: int | None = None
        self.stalled_after: int | None = None
        self.flipped_at: int | None = None
        self.connections = 0

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._joined, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def aclose(self) -> None:
        assert self._server
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._port)
        there = asyncio.ensure_future(_forward(reader, inner_writer))
        back = asyncio.ensure_future(self._back(inner_reader, writer))
        try:
            await asyncio.wait([there, back], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in (there, back):
                one.cancel()
            await asyncio.wait([there, back])
            for end in (writer, inner_writer):
                end.transport.abort()

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(16 << 10):
            if self.lost_after is not None and self.passed + len(data) > self.lost_after:
                return
            if self.stalled_after is not None and self.passed + len(data) > self.stalled_after:
                await asyncio.Event().wait()
            if self.flipped_at is not None and self.passed <= self.flipped_at < self.passed + len(data):
                data = bytearray(data)
                data[self.flipped_at - self.passed] ^= 1
            self.passed += len(data)
            writer.write(data)
            with suppress(ConnectionError):
                await writer.drain()


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(16 << 10):
        writer.write(data)
