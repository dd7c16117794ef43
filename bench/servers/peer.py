"""One of two members, without a face: `owner` has every chunk in its store, `asker` reads them through it.

Real parts throughout: store, catalog, read path, transfer over TCP. Run as
`python -m bench.servers.peer owner|asker WORK ADDRESS`; WORK/origin and WORK/catalog are there. Prints "ready". The asker
then takes lines PREFIX AT_ONCE, reads all files below the prefix, and prints {"bytes", "seconds"}. A piece counts when it can
be sent on; sending it is bench/serve's business.
"""

import asyncio
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path

import uvloop

from forebay_cache.catalog.base import Commit, Entry
from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.contract.config import DirectorySource
from forebay_cache.contract.membership import MemberEntry
from forebay_cache.model.ids import CommitId, MemberId
from forebay_cache.origin.folder import FolderOrigin
from forebay_cache.placement.epochs import found
from forebay_cache.placement.lookup import Placement
from forebay_cache.read.answering import Answering
from forebay_cache.read.peers import Peers
from forebay_cache.read.reader import ChunkReader
from forebay_cache.store.disk import DiskStore
from forebay_cache.store.ledger import Limits
from forebay_cache.transfer.tcp.caller import TcpTransfer
from forebay_cache.transfer.tcp.listener import start_listener

PORT = 7451
OWNER, ASKER = MemberId("00000000-0000-0000-0000-00000000000a"), MemberId("00000000-0000-0000-0000-00000000000b")
KEY = b"the bench's cluster key, no secret"
CAPACITY = 32 << 30


def placement() -> Placement:
    """The asker leaves, so the owner owns all."""
    members = (
        MemberEntry(id=OWNER, name="owner", capacity_bytes=CAPACITY, state="Serving"),
        MemberEntry(id=ASKER, name="asker", capacity_bytes=CAPACITY, state="Leaving"),
    )
    return Placement.of(found("bench", members))


async def main(role: str, work: str, address: str) -> None:
    me, membership = (OWNER if role == "owner" else ASKER), placement()
    origin = FolderOrigin(DirectorySource(path=os.path.join(work, "origin")))
    catalog = CatalogFiles(os.path.join(work, "catalog"))
    store = DiskStore.open(os.path.join(work, role), Limits(CAPACITY), cluster_uid="bench", boot_id="bench")
    reader = ChunkReader(store, catalog, lambda _: origin, ThreadPoolExecutor(8, "store"), time.monotonic)
    transfer = TcpTransfer(me, [KEY], lambda _: (address, PORT), time.monotonic)
    reader.peers = peers = Peers(me, lambda: membership, transfer, time.monotonic)
    commit = catalog.commit(CommitId(Path(work, "head").read_text()))
    if role == "owner":
        await read(reader, commit, b"", 8)
        listener = await start_listener(me, [KEY], Answering(reader, peers), (address, PORT))
        print("ready", flush=True)
        await asyncio.Event().wait()
        await listener.aclose()
    print("ready", flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        prefix, at_once = line.split()
        began, before = time.perf_counter(), peers.counters.bytes
        size = await read(reader, commit, prefix.encode(), int(at_once))
        took = time.perf_counter() - began
        if peers.counters.bytes - before < size or reader.counters.origins:
            raise SystemExit(f"{size} bytes were read, but the owner gave {peers.counters.bytes - before}")
        print(json.dumps({"bytes": size, "seconds": took}), flush=True)


async def read(reader: ChunkReader, commit: Commit, prefix: bytes, at_once: int) -> int:
    """-> bytes"""
    entries = [entry for entry in commit if entry.key.startswith(prefix)]
    left = iter(entries)

    async def one(entry: Entry) -> None:
        size = 0
        async with aclosing(reader.pieces(entry.extent)) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                size += piece.length
        if size != entry.size:
            raise SystemExit(f"{entry.key!r} has {size} bytes")

    async def some() -> None:
        for entry in left:
            await one(entry)

    await asyncio.gather(*(some() for _ in range(at_once)))
    return sum(entry.size for entry in entries)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2], sys.argv[3]))
