"""One worker process that serves a directory as two buckets, `open` (anonymous) and `closed` (every request signed).

Real parts throughout: directory origin, sync, catalog, chunk store, read path, S3 face. Run as
`python -m bench.servers.forebay WORK PORT`; WORK/origin is what it serves. Prints "ready" when it listens.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import uvloop

from bench.servers import KEY, SECRET
from forebay_cache.catalog.base import Commit
from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.catalog.sources import Mapping as SourceMapping
from forebay_cache.catalog.sync import run_sync
from forebay_cache.contract.config import AccessKey, DatasetState, DirectorySource, Source
from forebay_cache.model.ids import CommitId
from forebay_cache.origin.folder import FolderOrigin
from forebay_cache.read.reader import ChunkReader
from forebay_cache.serve.face import Site
from forebay_cache.serve.server import start_s3
from forebay_cache.store.disk import DiskStore
from forebay_cache.store.ledger import Limits
from forebay_cache.telemetry import Telemetry

CAPACITY = 32 << 30


@dataclass(frozen=True, slots=True)
class Served:
    state: DatasetState
    head: Commit | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    by_bucket: Mapping[str, Served]


@dataclass(frozen=True, slots=True)
class Datasets:
    snapshot: Snapshot
    catalog: CatalogFiles

    async def commit(self, commit: CommitId) -> Commit:
        return self.catalog.commit(commit)


async def main(work: str, port: int) -> None:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    source = DirectorySource(path=os.path.join(work, "origin"))
    origin, catalog = FolderOrigin(source), CatalogFiles(os.path.join(work, "catalog"))
    report = await run_sync(
        catalog, [SourceMapping(b"", b"", origin, b"bench")], None, int(time.time() * 1000), lambda *_: None
    )
    head = catalog.commit(CommitId(report.id))
    store = DiskStore.open(os.path.join(work, "store"), Limits(CAPACITY), cluster_uid="bench", boot_id="bench")
    pool = ThreadPoolExecutor(8, "store")
    reader = ChunkReader(store, catalog, lambda _: origin, pool, time.monotonic)
    served = {name: Served(state(name, source, head), head) for name in ("open", "closed")}
    site = Site(reader, Datasets(Snapshot(served), catalog), Telemetry())
    server = await start_s3(site, "127.0.0.1", port)
    print("ready", flush=True)
    await stopped.wait()
    await server.aclose()
    await reader.aclose()
    pool.shutdown()
    store.close()


def state(name: str, source: DirectorySource, head: Commit) -> DatasetState:
    return DatasetState(
        uid=name,
        namespace="bench",
        name=name,
        bucket=name,
        anonymous=name == "open",
        access_keys=(AccessKey(access_key_id=KEY, secret_access_key=SECRET),),
        sources=(Source(name="all", directory=source),),
        head=head.id,
    )


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
