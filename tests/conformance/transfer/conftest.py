"""Each check runs on the transfer in memory and on the one over TCP, and ends with nothing left behind."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal

import pytest
from tests.rigs.peers import KEY, ME, OTHER, BadWire, Chunks, Given

from forebay_cache.transfer.memory import Fault, MemoryNetwork, MemoryTransfer
from forebay_cache.transfer.tcp.caller import TcpTransfer
from forebay_cache.transfer.tcp.limits import CallerLimits, ListenerLimits
from forebay_cache.transfer.tcp.listener import Listener, start_listener

Wrong = Literal["unreachable", "lost", "stalled", "flipped"]
SILENT_S = 0.3


@dataclass
class Peers:
    """`OTHER` serves `source`; `transfer` asks it. `fail` makes the next bytes go wrong."""

    source: Chunks
    transfer: MemoryTransfer | TcpTransfer
    files: Given
    network: MemoryNetwork | None = None
    wire: BadWire | None = None
    listener: Listener | None = None

    async def fail(self, what: Wrong, after: int = 0) -> None:
        """`after` so many bytes of the next answer."""
        if self.network:
            faults = {
                "unreachable": Fault(unreachable=True),
                "lost": Fault(lost_after=after),
                "stalled": Fault(stalled_after=after),
                "flipped": Fault(flipped=True),
            }
            self.network.fault = lambda *_: faults[what]
            return
        assert self.wire
        assert self.listener
        at = self.wire.passed + after
        if what == "unreachable":
            await self.listener.aclose()
        elif what == "lost":
            self.wire.lost_after = at
        elif what == "stalled":
            self.wire.stalled_after = at
        else:
            self.wire.flipped_at = at + 300_000

    async def idle(self) -> None:
        """Waits until the member does nothing for us any more."""
        async with asyncio.timeout(10):
            while self.source.answering or self.source.leases:
                await asyncio.sleep(0.001)


@pytest.fixture(params=["memory", "tcp"])
async def peers(request: pytest.FixtureRequest) -> AsyncIterator[Peers]:
    before = len(os.listdir("/proc/self/fd"))
    source, files = Chunks(dict.fromkeys(range(4), 8 << 20)), Given()
    if request.param == "memory":
        network = MemoryNetwork({OTHER: source}, silent_s=SILENT_S, files={OTHER: files})
        yield Peers(source, MemoryTransfer(ME, network), files, network=network)
        assert network.answering == 0
    else:
        listener = await start_listener(OTHER, [KEY], source, ("127.0.0.1", 0), ListenerLimits(wait_s=SILENT_S / 3))
        listener.give_files(files)
        wire = BadWire(listener.port)
        port = await wire.start()
        address = {OTHER: ("127.0.0.1", port)}.get
        transfer = TcpTransfer(ME, [KEY], address, time.monotonic, CallerLimits(silent_s=SILENT_S, connections=2))
        yield Peers(source, transfer, files, wire=wire, listener=listener)
        await transfer.aclose()
        await wire.aclose()
        await listener.aclose()
        assert listener.counts.asks == 0
        assert listener.counts.connections == 0
    assert source.answering == source.leases == 0
    for _ in range(100):
        if len(os.listdir("/proc/self/fd")) <= before:
            break
        await asyncio.sleep(0.01)
    assert len(os.listdir("/proc/self/fd")) <= before
