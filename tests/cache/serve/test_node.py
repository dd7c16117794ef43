"""The node socket, spoken by hand on the agent's side, over a reader whose answers the test decides."""

import asyncio
import errno
import os
import socket
import struct
from array import array
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from forebay_cache.catalog.base import Catalog
from forebay_cache.contract import wire
from forebay_cache.model.errors import ConfigError, NotFound, OriginUnavailable, PartGone
from forebay_cache.model.ids import CHUNK_SIZE, ChunkId, CommitId, Extent, SegmentId
from forebay_cache.model.ranges import Span
from forebay_cache.read.base import Piece, Reader
from forebay_cache.serve.node import Behind, NodeLimits, NodeSocket, start_node_socket

GOOD, SLOW = SegmentId(b"g" * 32), SegmentId(b"s" * 32)
COMMIT = "c" * 64


@dataclass
class OneLease:
    fd: int
    whole: bool
    closed: int = 0

    def close(self) -> None:
        self.closed += 1


@dataclass
class FakeReader:
    """Every chunk is the file `fd`; which are here, and what a fill meets, the test says."""

    fd: int
    leases: dict[ChunkId, OneLease] = field(default_factory=dict)
    error: Exception | None = None
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[Extent] = field(default_factory=list)
    under_way: int = 0
    most: int = 0

    def lease(self, span: Span) -> OneLease | None:
        return self.leases.get(span.chunk)

    async def pieces(self, extent: Extent) -> AsyncIterator[Piece]:
        self.asked.append(extent)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            if extent.segment == SLOW:
                await self.gate.wait()
            if self.error is not None:
                raise self.error
            half = extent.length // 2
            start = extent.offset % CHUNK_SIZE
            yield Piece(self.fd, start, half)
            yield Piece(self.fd, start + half, extent.length - half)
        finally:
            self.under_way -= 1


class Agent:
    """The other end of one connection."""

    def __init__(self, path: str) -> None:
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.connect(path)
        self._sock.setblocking(False)

    async def send(self, operation: int, number: int, body: bytes) -> None:
        await self.send_bytes(wire.HEADER.pack(operation, wire.VERSION, len(body), number) + body)

    async def send_bytes(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._sock, data)

    async def ask(
        self, number: int, start: int = 0, stop: int = 4096, segment: bytes = GOOD, flags: int = wire.WANT_DESCRIPTOR
    ) -> None:
        await self.send(wire.OP_CHUNK, number, wire.CHUNK.pack(segment, 1, start, stop, flags))

    async def answer(self) -> tuple[int, int, bytes, list[int]]:
        """Status, number, body, descriptors. Raises ConnectionResetError at the end."""
        head, descriptors = await self._take(wire.HEADER.size)
        status, version, length, number = wire.HEADER.unpack(head)
        assert version == wire.VERSION
        return status, number, (await self._take(length))[0], descriptors

    async def error(self) -> tuple[int, int, str]:
        status, number, body, _ = await self.answer()
        assert status == wire.ST_ERROR
        return number, wire.ERROR.unpack_from(body)[0], body[wire.ERROR.size :].decode()

    async def _take(self, length: int) -> tuple[bytes, list[int]]:
        data, descriptors = b"", array("i")
        while len(data) < length:
            try:
                some, ancillary, _, _ = self._sock.recvmsg(length - len(data), 64, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                ready = asyncio.Event()
                asyncio.get_running_loop().add_reader(self._sock, ready.set)
                async with asyncio.timeout(10):
                    await ready.wait()
                asyncio.get_running_loop().remove_reader(self._sock)
                continue
            if not some:
                raise ConnectionResetError
            data += some
            for _, _, packed in ancillary:
                descriptors.frombytes(packed)
        return data, list(descriptors)

    def close(self) -> None:
        self._sock.close()


Start = Callable[..., "asyncio.Future[NodeSocket]"]


@dataclass
class House:
    path: str
    reader: FakeReader
    server: NodeSocket
    agent: Agent
    accesses: list[tuple[ChunkId, int, int]]


def origin_of(segment: SegmentId) -> SimpleNamespace:
    """A parts table, as far as it is asked here."""
    return SimpleNamespace(origin="slow" if segment == SLOW else "good")


@asynccontextmanager
async def house(tmp_path: Path, limits: NodeLimits = NodeLimits()) -> AsyncIterator[House]:
    content = tmp_path / "chunk"
    content.write_bytes(b"".join(bytes([n % 251]) * 4096 for n in range(512)))
    (tmp_path / "image").write_bytes(b"an image")
    fd = os.open(content, os.O_RDONLY)
    reader, told = FakeReader(fd), []
    catalog = SimpleNamespace(
        parts=origin_of,
        opened=origin_of,
        image_path=lambda commit: str(tmp_path / "image"),
        devices_path=missing,
    )
    path = str(tmp_path / "run" / "node.sock")
    with ThreadPoolExecutor(2) as pool:
        behind = Behind(
            cast("Reader", reader), cast("Catalog", catalog), pool, accesses=lambda *access: told.append(access)
        )
        server = await start_node_socket(path, behind, limits)
        agent = Agent(path)
        try:
            yield House(path, reader, server, agent, told)
        finally:
            agent.close()
            await server.aclose()
            os.close(fd)
    assert not reader.under_way
    assert not os.path.exists(path)


def missing(commit: CommitId) -> str:
    raise NotFound(f"device table of commit {commit} is not here")


async def test_a_complete_chunk_goes_as_its_descriptor(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        lease = h.reader.leases[ChunkId(GOOD, 1)] = OneLease(h.reader.fd, whole=True)
        await h.agent.ask(5)
        status, number, body, (fd,) = await h.agent.answer()
        assert (status, number, body) == (wire.ST_DESCRIPTOR, 5, b"")
        assert os.fstat(fd).st_ino == os.fstat(h.reader.fd).st_ino
        os.close(fd)
        assert lease.closed == 1
        await h.agent.ask(6, flags=0)
        assert (await h.agent.answer())[:2] == (wire.ST_BYTES, 6)


async def test_a_partial_chunk_and_a_miss_go_as_bytes(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        lease = h.reader.leases[ChunkId(GOOD, 1)] = OneLease(h.reader.fd, whole=False)
        await h.agent.ask(1, 4096, 12288)
        assert await h.agent.answer() == (wire.ST_BYTES, 1, bytes([1]) * 4096 + bytes([2]) * 4096, [])
        assert lease.closed
        assert not h.reader.asked
        h.reader.leases.clear()
        await h.agent.ask(2, 4096, 12288)
        assert await h.agent.answer() == (wire.ST_BYTES, 2, bytes([1]) * 4096 + bytes([2]) * 4096, [])
        assert h.reader.asked == [Extent(GOOD, CHUNK_SIZE + 4096, 8192)]
        assert h.server.counts.requests == {("bytes",): 2}
        assert h.server.counts.sent_bytes == 16384


async def test_a_hit_does_not_wait_behind_misses(tmp_path: Path) -> None:
    async with house(tmp_path, NodeLimits(misses=1)) as h:
        h.reader.leases[ChunkId(GOOD, 1)] = OneLease(h.reader.fd, whole=True)
        for number in range(10):
            await h.agent.ask(number, segment=SLOW)
        await h.agent.ask(77)
        _, number, _, (fd,) = await h.agent.answer()
        os.close(fd)
        assert number == 77
        h.reader.gate.set()
        assert sorted([(await h.agent.answer())[1] for _ in range(10)]) == list(range(10))
        assert h.reader.most == 1


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (PartGone("key x was deleted"), errno.EIO),
        (OriginUnavailable("refused"), errno.EIO),
        (NotFound("no such segment"), errno.ENOENT),
        (OSError(errno.EIO, "disk"), errno.EIO),
        (RuntimeError("a bug"), errno.EIO),
    ],
)
async def test_errors_keep_their_words(tmp_path: Path, error: Exception, number: int) -> None:
    async with house(tmp_path) as h:
        h.reader.error = error
        await h.agent.ask(3)
        assert await h.agent.error() == (3, number, str(error))
        h.reader.error = None
        await h.agent.ask(4)
        assert (await h.agent.answer())[:2] == (wire.ST_BYTES, 4)


async def test_a_hung_origin_fails_fast_and_holds_up_no_other(tmp_path: Path) -> None:
    async with house(tmp_path, NodeLimits(deadline_s=0.05)) as h:
        await h.agent.ask(1, segment=SLOW)
        assert (await h.agent.error())[:2] == (1, errno.ETIMEDOUT)
        await h.agent.ask(2, segment=SLOW)
        number, code, message = await h.agent.error()
        assert (number, code) == (2, errno.ETIMEDOUT)
        assert "asked every second" in message
        assert len(h.reader.asked) == 1
        await h.agent.ask(3)
        assert (await h.agent.answer())[:2] == (wire.ST_BYTES, 3)
        assert h.server.counts.requests == {("expired",): 2, ("bytes",): 1}


async def test_too_many_waiting_misses_are_refused(tmp_path: Path) -> None:
    async with house(tmp_path, NodeLimits(waiting=2)) as h:
        for number in range(3):
            await h.agent.ask(number, segment=SLOW)
        assert (await h.agent.error())[0] == 2
        h.reader.gate.set()
        assert sorted([(await h.agent.answer())[1] for _ in range(2)]) == [0, 1]


async def test_catalog_files_go_as_descriptors(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        await h.agent.send(wire.OP_FILE, 1, wire.FILE.pack(wire.FILE_IMAGE) + COMMIT.encode())
        status, _, _, (fd,) = await h.agent.answer()
        assert (status, os.pread(fd, 100, 0)) == (wire.ST_DESCRIPTOR, b"an image")
        os.close(fd)
        await h.agent.send(wire.OP_FILE, 2, wire.FILE.pack(wire.FILE_DEVICES) + COMMIT.encode())
        assert (await h.agent.error())[:2] == (2, errno.ENOENT)


async def test_told_reads_reach_the_policy(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        rows = [(GOOD, 1, 2, 300), (SLOW, 4, 5, 600)]
        await h.agent.send(wire.OP_READS, 0, b"".join(wire.READS.pack(*row) for row in rows))
        await h.agent.ask(1)
        await h.agent.answer()
        assert h.accesses == [(ChunkId(GOOD, 1), 2, 300), (ChunkId(SLOW, 4), 5, 600)]


async def test_large_answers_arrive_whole(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        for number in range(8):
            await h.agent.ask(number, 0, 1 << 20)
        for _ in range(8):
            status, _, body, _ = await h.agent.answer()
            assert status == wire.ST_BYTES
            assert body == os.pread(h.reader.fd, 1 << 20, 0)


@pytest.mark.parametrize(
    "message",
    [
        wire.HEADER.pack(99, wire.VERSION, 0, 1),
        wire.HEADER.pack(wire.OP_CHUNK, wire.VERSION + 1, 0, 1),
        wire.HEADER.pack(wire.OP_CHUNK, wire.VERSION, wire.REQUEST_LIMIT + 1, 1),
        wire.HEADER.pack(wire.OP_CHUNK, wire.VERSION, 3, 1) + b"abc",
        wire.HEADER.pack(wire.OP_CHUNK, wire.VERSION, 48, 1) + wire.CHUNK.pack(GOOD, 1, 8, 8, 0),
        wire.HEADER.pack(wire.OP_CHUNK, wire.VERSION, 48, 1) + wire.CHUNK.pack(GOOD, 1, 0, (1 << 20) + 1, 0),
        wire.HEADER.pack(wire.OP_CHUNK, wire.VERSION, 48, 1) + wire.CHUNK.pack(GOOD, 1, CHUNK_SIZE, CHUNK_SIZE + 1, 0),
        wire.HEADER.pack(wire.OP_FILE, wire.VERSION, 8, 1) + struct.pack("<I", 1) + b"../x",
        wire.HEADER.pack(wire.OP_FILE, wire.VERSION, 8, 1) + struct.pack("<I", 7) + b"abcd",
        wire.HEADER.pack(wire.OP_FILE, wire.VERSION, 8, 1) + struct.pack("<I", 1) + b"\xff\xfe\xfd\xfc",
        wire.HEADER.pack(wire.OP_READS, wire.VERSION, 5, 1) + b"abcde",
    ],
)
async def test_a_broken_message_ends_its_connection_only(tmp_path: Path, message: bytes) -> None:
    async with house(tmp_path) as h:
        other = Agent(h.path)
        await h.agent.send_bytes(message)
        with pytest.raises(ConnectionResetError):
            await h.agent.answer()
        await other.ask(1)
        assert (await other.answer())[0] == wire.ST_BYTES
        other.close()


async def test_a_message_may_come_in_single_bytes(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        body = wire.CHUNK.pack(GOOD, 1, 0, 4096, 0)
        for byte in wire.HEADER.pack(wire.OP_CHUNK, wire.VERSION, len(body), 9) + body:
            await h.agent.send_bytes(bytes([byte]))
        assert (await h.agent.answer())[:2] == (wire.ST_BYTES, 9)


async def test_an_agent_that_leaves_cancels_its_misses(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        await h.agent.ask(1, segment=SLOW)
        while not h.reader.under_way:
            await asyncio.sleep(0)
        h.agent.close()
        async with asyncio.timeout(10):
            while h.reader.under_way:
                await asyncio.sleep(0)


async def test_the_socket_is_for_root_alone(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        assert os.stat(h.path).st_mode & 0o777 == 0o600


async def test_connections_are_bounded(tmp_path: Path) -> None:
    async with house(tmp_path, NodeLimits(connections=1)) as h:
        await h.agent.ask(1)
        await h.agent.answer()
        extra = Agent(h.path)
        with pytest.raises(ConnectionResetError):
            await extra.answer()
        extra.close()


async def test_a_path_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    behind = Behind(cast("Reader", None), cast("Catalog", None), ThreadPoolExecutor(1))
    with pytest.raises(ConfigError, match="node_socket"):
        await start_node_socket(str(tmp_path / "file" / "node.sock"), behind)
