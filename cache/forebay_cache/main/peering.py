"""Members among themselves, wired: the port they listen on, and the way they ask each other."""

import hmac
import os
import time
from contextlib import AsyncExitStack

from forebay_cache.contract.config import MemberConfig
from forebay_cache.member.metrics import show_peers
from forebay_cache.member.roster import Roster
from forebay_cache.model.errors import ConfigError
from forebay_cache.model.ids import MemberId
from forebay_cache.read.answering import Answering
from forebay_cache.read.peers import Peers
from forebay_cache.read.reader import ChunkReader
from forebay_cache.telemetry import Telemetry
from forebay_cache.transfer.tcp.caller import TcpTransfer
from forebay_cache.transfer.tcp.listener import start_listener


async def peering(
    config: MemberConfig,
    roster: Roster,
    reading: tuple[MemberId, ChunkReader],
    telemetry: Telemetry,
    stack: AsyncExitStack,
) -> None:
    """Lets a member ask the others of its roster, and answer them, until `stack` ends. Raises ConfigError."""
    if config.peer_port is None or config.admin_tls is None:
        return
    me, reader = reading
    keys = [peer_key(config.admin_tls)]
    transfer = TcpTransfer(me, keys, roster.peer_address, time.monotonic)
    stack.push_async_callback(transfer.aclose)
    reader.peers = Peers(me, lambda: roster.placement, transfer, time.monotonic)
    listener = await start_listener(me, keys, Answering(reader, reader.peers), (config.host, config.peer_port))
    stack.push_async_callback(listener.aclose)
    show_peers(telemetry, reader.peers.counters, listener.counts)


def peer_key(tls_dir: str) -> bytes:
    """The key that members prove to each other to have: derived from the one private key that all of a cluster's members
    share, so that there is no second secret to hand out and to rotate. Raises ConfigError."""
    path = os.path.join(tls_dir, "tls.key")
    try:
        with open(path, "rb") as file:
            return hmac.digest(file.read(), b"forebay peers", "sha256")
    except OSError as exc:
        raise ConfigError(f"admin_tls: {path} cannot be read: {exc.strerror or exc}") from exc
