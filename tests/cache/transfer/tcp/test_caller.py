"""What broken or foreign listeners can do to a caller, and how its connections are kept."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.rigs.peers import KEY, ME, OTHER, Chunks, Given, ask, collect, file_name

from forebay_cache.model.errors import MemberBadFrame, MemberUnreachable
from forebay_cache.model.ids import MemberId
from forebay_cache.transfer import frames, greeting
from forebay_cache.transfer.base import Absent, Busy
from forebay_cache.transfer.sums import sums
from forebay_cache.transfer.tcp.caller import TcpTransfer
from forebay_cache.transfer.tcp.limits import CallerLimits
from forebay_cache.transfer.tcp.listener import start_listener

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
QUICK = CallerLimits(connect_s=0.5, silent_s=0.2)


@asynccontextmanager
async def talking(talk: Talk, limits: CallerLimits = QUICK) -> AsyncIterator[TcpTransfer]:
    """A caller of a listener that talks as it is told."""

    async def joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(joined, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    transfer = TcpTransfer(ME, [KEY], lambda _: ("127.0.0.1", port), time.monotonic, limits)
    yield transfer
    await transfer.aclose()
    server.close()
    await server.wait_closed()


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    hello = greeting.put_hello(bytes(32))
    writer.write(hello)
    call = greeting.take_call(await reader.readexactly(greeting.CALL_SIZE))
    verdict, key = greeting.judge([KEY], OTHER, hello, call)
    writer.write(greeting.put_welcome(verdict, key, hello, call))
    await reader.readexactly(8)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(noise=st.binary(max_size=3000), greets=st.booleans())
async def test_noise_is_an_error_in_time(noise: bytes, greets: bool) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if greets:
            await greet(reader, writer)
        writer.write(noise)
        await writer.drain()

    async with talking(talk) as transfer:
        with pytest.raises((MemberUnreachable, MemberBadFrame)):
            await collect(transfer, ask((0, 0, 4096)))


@pytest.mark.parametrize(
    "place", [frames.Place(1, 0, 4096), frames.Place(0, 4096, 8192), frames.Place(0, 0, 16384)], ids=str
)
async def test_bytes_that_nobody_asked_for_are_refused(place: frames.Place) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        data = bytes(place.stop - place.start)
        writer.write(frames.put_bytes(place, sums(memoryview(data))) + data)
        await writer.drain()

    async with talking(talk) as transfer:
        with pytest.raises(MemberBadFrame):
            await collect(transfer, ask((0, 0, 8192)))


@pytest.mark.parametrize("size", [0, 10, greeting.HELLO_SIZE])
async def test_a_listener_that_falls_silent_in_its_greeting_is_unreachable(size: int) -> None:
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting.put_hello(bytes(32))[:size])
        await asyncio.sleep(3600)

    limits = CallerLimits(connect_s=0.1, silent_s=0.1)
    task = asyncio.ensure_future(_ends_unreachable(talk, limits))
    await task


async def _ends_unreachable(talk: Talk, limits: CallerLimits) -> None:
    tasks = []

    async def remembered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.current_task())
        await talk(reader, writer)

    async with talking(remembered, limits) as transfer:
        with pytest.raises(MemberUnreachable, match="silent"):
            await collect(transfer, ask((0, 0, 4096)))
        for task in tasks:
            assert task
            task.cancel()


async def test_an_address_that_is_another_members_is_unreachable() -> None:
    listener = await start_listener(MemberId("third"), [KEY], Chunks({}), ("127.0.0.1", 0))
    transfer = TcpTransfer(ME, [KEY], lambda _: ("127.0.0.1", listener.port), time.monotonic)
    with pytest.raises(MemberUnreachable, match="another member"):
        await collect(transfer, ask((0, 0, 4096)))
    await transfer.aclose()
    await listener.aclose()


async def test_another_key_is_told_and_never_shown() -> None:
    listener = await start_listener(OTHER, [b"o" * 32], Chunks({}), ("127.0.0.1", 0))
    transfer = TcpTransfer(ME, [KEY], lambda _: ("127.0.0.1", listener.port), time.monotonic)
    with pytest.raises(MemberUnreachable, match="cluster key") as told:
        await collect(transfer, ask((0, 0, 4096)))
    assert KEY.decode() not in str(told.value) + repr(transfer) + repr(listener)
    await transfer.aclose()
    await listener.aclose()


async def test_a_connection_is_used_again_and_a_stale_one_is_not() -> None:
    source, clock = Chunks({0: 8192}), [0.0]
    listener = await start_listener(OTHER, [KEY], source, ("127.0.0.1", 0))
    greeted = 0

    def address(_: MemberId) -> tuple[str, int]:
        nonlocal greeted
        greeted += 1
        return "127.0.0.1", listener.port

    transfer = TcpTransfer(ME, [KEY], address, lambda: clock[0], CallerLimits(idle_s=5))
    for _ in range(5):
        await collect(transfer, ask((0, 0, 4096)))
    assert greeted == 1
    clock[0] += 6
    await collect(transfer, ask((0, 0, 4096)))
    assert greeted == 2
    await listener.aclose()
    listener = await start_listener(OTHER, [KEY], source, ("127.0.0.1", 0))
    await collect(transfer, ask((0, 0, 4096)))
    assert greeted == 3, "the old connection was seen to be closed"
    await transfer.aclose()
    await listener.aclose()


async def test_asks_beyond_the_queue_are_busy_and_connections_are_bounded() -> None:
    source = Chunks({0: 8192})
    source.gate.clear()
    listener = await start_listener(OTHER, [KEY], source, ("127.0.0.1", 0))
    limits = CallerLimits(connections=2, waiting=3)
    transfer = TcpTransfer(ME, [KEY], lambda _: ("127.0.0.1", listener.port), time.monotonic, limits)
    asks = [asyncio.ensure_future(collect(transfer, ask((0, 0, 4096)))) for _ in range(5)]
    while source.leases < 2:
        await asyncio.sleep(0.001)
    assert (await collect(transfer, ask((0, 0, 4096)))).others == {0: Busy(0, 0.1)}
    assert listener.counts.connections == 2
    source.gate.set()
    assert all([(await one).data[0] for one in asks])
    await transfer.aclose()
    await listener.aclose()


async def test_closing_wakes_who_reads() -> None:
    source = Chunks({0: 8192})
    source.gate.clear()
    listener = await start_listener(OTHER, [KEY], source, ("127.0.0.1", 0))
    transfer = TcpTransfer(ME, [KEY], lambda _: ("127.0.0.1", listener.port), time.monotonic)
    reading = asyncio.ensure_future(collect(transfer, ask((0, 0, 4096))))
    while not source.leases:
        await asyncio.sleep(0.001)
    await transfer.aclose()
    with pytest.raises(MemberUnreachable):
        await reading
    await listener.aclose()


def test_a_caller_needs_a_key() -> None:
    with pytest.raises(ValueError, match="key"):
        TcpTransfer(ME, [], lambda _: None, time.monotonic)


async def test_a_member_of_an_older_program_is_not_asked_for_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(greeting, "NEWEST", 1)
    files = Given({file_name(1): b"1"})
    listener = await start_listener(OTHER, [KEY], Chunks({0: 8192}), ("127.0.0.1", 0))
    listener.give_files(files)
    transfer = TcpTransfer(ME, [KEY], lambda _: ("127.0.0.1", listener.port), time.monotonic)
    for _ in range(2):
        assert [one async for one in transfer.read_file(OTHER, file_name(1), 5.0)] == [Absent(0)]
        assert (await collect(transfer, ask((0, 0, 4096)))).data[0]
    assert not files.asked
    await transfer.aclose()
    await listener.aclose()


@pytest.mark.parametrize(
    "rude",
    [
        frames.put_file(0, 4, 8) + b"1234" + frames.put_file(0, 4, 8) + b"1234",
        frames.put_file(0, 4, 8) + b"1234" + frames.put_file(4, 8, 9) + b"1234",
        frames.put_file(4, 8, 8) + b"1234",
        frames.put_file(0, 4, 1 << 40) + b"1234",
        frames.put_other(Absent(1)),
        frames.put_file(0, 8, 8) + b"1234",
    ],
)
async def test_what_is_not_due_of_a_file_is_an_error_in_time(rude: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        writer.write(rude)
        await reader.read()

    async with talking(talk) as transfer:
        with pytest.raises((MemberBadFrame, MemberUnreachable)):
            async for _ in transfer.read_file(OTHER, file_name(1), 5.0):
                pass
