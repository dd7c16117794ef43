"""A member with nothing but its node socket, over real parts: a directory as origin, catalog, store and reader.

python -m tests.rigs.nodemember ORIGIN ROOT   syncs, prints the commit, serves ROOT/node.sock until its standard input ends
"""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.catalog.sources import Mapping
from forebay_cache.catalog.sync import run_sync
from forebay_cache.contract.config import DirectorySource
from forebay_cache.model.ids import CommitId
from forebay_cache.origin.folder import FolderOrigin
from forebay_cache.read.reader import ChunkReader
from forebay_cache.serve.node import Behind, NodeSocket, start_node_socket
from forebay_cache.store.disk import DiskStore
from forebay_cache.store.ledger import Limits

CAPACITY = 8 << 30


@dataclass(frozen=True)
class NodeMember:
    commit: CommitId
    socket: str
    server: NodeSocket
    reader: ChunkReader
    catalog: CatalogFiles
    store: DiskStore


@contextlib.asynccontextmanager
async def node_member(origin_path: str, root: str) -> AsyncIterator[NodeMember]:
    """Syncs what is in the directory now, then serves it."""
    async with contextlib.AsyncExitStack() as stack:
        origin = FolderOrigin(DirectorySource(path=origin_path))
        catalog = CatalogFiles(os.path.join(root, "catalog"))
        report = await run_sync(catalog, [Mapping(b"", b"", origin, b"s")], None, 1_700_000_000_000, lambda *_: None)
        limits = Limits(CAPACITY, 95, 90, "lru")
        store = DiskStore.open(os.path.join(root, "store"), limits, cluster_uid="rig", boot_id="rig")
        stack.callback(store.close)
        pool = stack.enter_context(ThreadPoolExecutor(4))
        reader = ChunkReader(store, catalog, lambda _: origin, pool, time.monotonic)
        stack.push_async_callback(reader.aclose)
        path = os.path.join(root, "node.sock")
        server = await start_node_socket(path, Behind(reader, catalog, pool))
        stack.push_async_callback(server.aclose)
        yield NodeMember(CommitId(report.id), path, server, reader, catalog, store)


async def main(origin_path: str, root: str) -> None:
    async with node_member(origin_path, root) as member:
        print(member.commit, flush=True)
        loop = asyncio.get_running_loop()
        stopped = asyncio.Event()
        loop.add_reader(0, stopped.set)
        await stopped.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
