"""Members among themselves, wired: the port they listen on, and the way they ask each other."""

import asyncio
import hmac
import os
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.catalog.giving import CatalogGiving
from forebay_cache.contract.config import MemberConfig
from forebay_cache.member.gather import Gatherer, Others
from forebay_cache.member.metrics import show_gathered, show_peers
from forebay_cache.member.registry import Registry
from forebay_cache.member.roster import Roster
from forebay_cache.model.errors import ConfigError
from forebay_cache.model.ids import MemberId
from forebay_cache.read.answering import Answering
from forebay_cache.read.peers import Peers
from forebay_cache.read.reader import ChunkReader
from forebay_cache.telemetry import Telemetry
from forebay_cache.transfer.tcp.caller import TcpTransfer
from forebay_cache.transfer.tcp.listener import start_listener


@dataclass(frozen=True, slots=True)
class Room:
    """What members share of one: its reads, its catalog, and what it knows of the others."""

    me: MemberId
    reader: ChunkReader
    catalog: CatalogFiles
    registry: Registry
    roster: Roster


async def peering(config: MemberConfig, room: Room, telemetry: Telemetry, stack: AsyncExitStack) -> None:
    """Lets a member ask the others of its roster, and answer them, until `stack` ends. Raises ConfigError."""
    if config.peer_port is None or config.admin_tls is None:
        return
    me, roster, reader = room.me, room.roster, room.reader
    keys = [peer_key(config.admin_tls)]
    transfer = TcpTransfer(me, keys, roster.peer_address, time.monotonic)
    stack.push_async_callback(transfer.aclose)
    reader.peers = Peers(me, lambda: roster.placement, transfer, time.monotonic)
    listener = await start_listener(me, keys, Answering(reader, reader.peers), (config.host, config.peer_port))
    stack.push_async_callback(listener.aclose)
    listener.give_files(CatalogGiving(room.catalog))
    gatherer = Gatherer(room.catalog, room.registry, Others(me, roster, transfer), time.monotonic)
    await stack.enter_async_context(running(gatherer.run()))
    show_peers(telemetry, reader.peers.counters, listener.counts)
    show_gathered(telemetry, gatherer.counters)


@asynccontextmanager
async def running(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Work that goes on meanwhile, and is cancelled and awaited at the end."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def peer_key(tls_dir: str) -> bytes:
    """The key that members prove to each other to have: derived from the one private key that all of a cluster's members
    share, so that there is no second secret to hand out and to rotate. Raises ConfigError."""
    path = os.path.join(tls_dir, "tls.key")
    try:
        with open(path, "rb") as file:
            return hmac.digest(file.read(), b"forebay peers", "sha256")
    except OSError as exc:
        raise ConfigError(f"admin_tls: {path} cannot be read: {exc.strerror or exc}") from exc
