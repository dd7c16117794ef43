"""What strangers and broken callers can do to a listener: nothing but waste their own connection."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.rigs.peers import KEY, ME, OTHER, Chunks, ask, collect

from forebay_cache.model.errors import ConfigError
from forebay_cache.model.ids import MemberId
from forebay_cache.transfer import frames, greeting
from forebay_cache.transfer.base import Busy
from forebay_cache.transfer.tcp.caller import TcpTransfer
from forebay_cache.transfer.tcp.limits import ListenerLimits
from forebay_cache.transfer.tcp.listener import Listener, start_listener

CHUNK = 8 << 20


@asynccontextmanager
async def listening(source: Chunks, limits: ListenerLimits = ListenerLimits()) -> AsyncIterator[Listener]:
    listener = await start_listener(OTHER, [KEY], source, ("127.0.0.1", 0), limits)
    try:
        yield listener
    finally:
        await listener.aclose()
        assert listener.counts.asks == listener.counts.connections == source.leases == 0


@asynccontextmanager
async def connected(
    listener: Listener, key: bytes = KEY
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A caller that greets as it should, and then may do as it likes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    try:
        hello = await reader.readexactly(greeting.HELLO_SIZE)
        writer.write(greeting.put_call(key, hello, 1, bytes(32), (ME, OTHER)))
        await reader.readexactly(greeting.WELCOME_SIZE)
        yield reader, writer
    finally:
        writer.transport.abort()


async def closed(reader: asyncio.StreamReader) -> None:
    """Waits until the listener has ended the connection."""
    async with asyncio.timeout(5):
        with suppress(ConnectionError):
            while await reader.read(1 << 16):
                pass


@pytest.mark.parametrize(
    "rude",
    [
        struct.pack("<HHI", 99, 1, 0),
        struct.pack("<HHI", frames.K_ASK, 1, 2**32 - 1),
        struct.pack("<HHI", frames.K_ASK, 1, 4) + b"1234",
        struct.pack("<HHI", frames.K_WAIT, 1, 0),
        struct.pack("<HHI", frames.K_ASK_FILE, 1, 4) + b"1234",
        struct.pack("<HHI", frames.K_ASK_FILE, 1, 40) + struct.pack("<HxxI32s", 5, 1000, bytes(32)),
        struct.pack("<HHI", frames.K_ASK_FILE, 1, 41) + bytes(41),
        struct.pack("<HHI", frames.K_FILE, 1, 17) + bytes(17),
        struct.pack("<HHI", frames.K_ASK, 7, 16) + bytes(16),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
async def test_what_breaks_the_protocol_ends_the_connection(rude: bytes) -> None:
    async with listening(Chunks({0: CHUNK})) as listener, connected(listener) as (reader, writer):
        writer.write(rude)
        await closed(reader)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(before=st.binary(max_size=300), after=st.binary(max_size=300), greets=st.booleans())
async def test_noise_never_stops_a_listener(before: bytes, after: bytes, greets: bool) -> None:
    source = Chunks({0: 8192})
    async with listening(source, ListenerLimits(greeting_s=0.05, stalled_s=0.05)) as listener:
        if greets:
            async with connected(listener) as (_, writer):
                writer.write(before + after)
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
            writer.write(before + after)
            await closed(reader)
            writer.transport.abort()
        async with connected(listener) as (reader, writer):
            writer.write(frames.put_ask(ask((0, 0, 4096))))
            head = await reader.readexactly(8)
            assert frames.take_header(head)[0] == frames.K_BYTES


async def test_a_stranger_is_told_nothing_and_gets_nothing() -> None:
    async with listening(Chunks({0: CHUNK})) as listener, connected(listener, b"x" * 32) as (reader, writer):
        with suppress(ConnectionError):
            writer.write(frames.put_ask(ask((0, 0, 4096))))
        await closed(reader)


async def test_who_never_says_who_it_is_is_let_go() -> None:
    async with listening(Chunks({0: CHUNK}), ListenerLimits(greeting_s=0.05)) as listener:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        await closed(reader)
        writer.transport.abort()


async def test_who_takes_nothing_is_let_go() -> None:
    source = Chunks({0: CHUNK})
    async with listening(source, ListenerLimits(stalled_s=0.1)) as listener:
        sock = socket.create_connection(("127.0.0.1", listener.port))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        hello = await loop.sock_recv(sock, greeting.HELLO_SIZE)
        await loop.sock_sendall(sock, greeting.put_call(KEY, hello, 1, bytes(32), (ME, OTHER)))
        for _ in range(4):
            await loop.sock_sendall(sock, frames.put_ask(ask((0, 0, CHUNK))))
        async with asyncio.timeout(5):
            while not source.leases:
                await asyncio.sleep(0.01)
            while source.leases or listener.counts.connections:
                await asyncio.sleep(0.01)
        sock.close()


async def test_more_asks_than_the_limit_are_busy() -> None:
    source = Chunks({0: CHUNK})
    source.gate.clear()
    async with listening(source, ListenerLimits(asks=1)) as listener, connected(listener) as (_, writer):
        writer.write(frames.put_ask(ask((0, 0, 4096))))
        while not source.leases:
            await asyncio.sleep(0.001)
        transfer = TcpTransfer(ME, [KEY], lambda _: ("127.0.0.1", listener.port), asyncio.get_running_loop().time)
        got = await collect(transfer, ask((0, 0, 4096), (0, 0, 8192)))
        assert [type(other) for other in got.others.values()] == [Busy, Busy]
        await transfer.aclose()


async def test_more_connections_than_the_limit_are_refused() -> None:
    async with listening(Chunks({0: CHUNK}), ListenerLimits(connections=1)) as listener, connected(listener):
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        assert await reader.read() == b""
        writer.transport.abort()


async def test_a_listener_needs_a_key_and_a_free_port() -> None:
    with pytest.raises(ConfigError, match="key"):
        await start_listener(OTHER, [b""], Chunks({}), ("127.0.0.1", 0))
    async with listening(Chunks({})) as listener:
        with pytest.raises(ConfigError, match=str(listener.port)):
            await start_listener(MemberId("third"), [KEY], Chunks({}), ("127.0.0.1", listener.port))
