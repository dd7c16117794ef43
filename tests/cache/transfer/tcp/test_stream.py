"""Sockets on the event loop that members run on."""

import asyncio
import time

import pytest
import uvloop
from tests.rigs.peers import KEY, ME, OTHER, Chunks, ask, collect

from forebay_cache.model.errors import MemberUnreachable
from forebay_cache.transfer.tcp.caller import TcpTransfer
from forebay_cache.transfer.tcp.limits import CallerLimits, ListenerLimits
from forebay_cache.transfer.tcp.listener import start_listener

CHUNK = 8 << 20


async def reads_come_waits_end_and_nothing_stays() -> None:
    source = Chunks({0: CHUNK})
    listener = await start_listener(OTHER, [KEY], source, ("127.0.0.1", 0), ListenerLimits(wait_s=0.05))
    limits = CallerLimits(silent_s=0.2, connections=2)
    address = "127.0.0.1", listener.port
    transfer = TcpTransfer(ME, [KEY], lambda _: address, time.monotonic, limits)
    wanted = [ask((0, 4096 * n, CHUNK - 4096 * n)) for n in range(1, 9)]
    found = await asyncio.gather(*(collect(transfer, one) for one in wanted))
    assert [got.data[0] for got in found] == [source.right(one.spans[0]) for one in wanted]
    source.gate.clear()
    reading = asyncio.ensure_future(collect(transfer, wanted[0]))
    while not source.leases:
        await asyncio.sleep(0.001)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    while source.leases or listener.counts.asks:
        await asyncio.sleep(0.001)
    await listener.aclose()
    with pytest.raises(MemberUnreachable):
        await collect(transfer, wanted[0])
    await transfer.aclose()


def test_it_works_on_uvloop() -> None:
    uvloop.run(reads_come_waits_end_and_nothing_stays())
