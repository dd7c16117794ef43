"""Fills of merged segments from what the local store has of the segments they were merged of, before an origin is asked."""

import asyncio
from concurrent.futures import Executor

from forebay_cache.catalog.base import Ancestor, Catalog
from forebay_cache.model.errors import StoreError
from forebay_cache.model.ids import CHUNK_SIZE, ChunkId
from forebay_cache.read.jobs import Job
from forebay_cache.read.writes import Writer
from forebay_cache.store.base import Fill, Store


class Ancestors:
    """`pool` runs the store's blocking calls."""

    def __init__(self, store: Store, catalog: Catalog, pool: Executor, writer: Writer) -> None:
        self._store = store
        self._catalog = catalog
        self._pool = pool
        self._writer = writer

    async def copy(self, job: Job, fill: Fill) -> int:
        """Does the job from an ancestor chunk that has all of its bytes, each block held against its checksum -> bytes
        copied; 0: there is none. Raises StoreFull, StoreFailed of the fill."""
        loop = asyncio.get_running_loop()
        for one in self._catalog.ancestors(job.segment, job.part.index):
            data = await loop.run_in_executor(self._pool, self._verified, one, job)
            if data is not None:
                await self._writer.write(fill, job.start, data.ljust(job.stop - job.start, b"\0"))
                return len(data)
        return 0

    def _verified(self, ancestor: Ancestor, job: Job) -> bytes | None:
        """A packed part lies in one chunk, there as here."""
        number, at = divmod(ancestor.offset, CHUNK_SIZE)
        try:
            return self._store.verified(ChunkId(ancestor.segment, number), at + job.first, at + job.last)
        except (StoreError, ValueError):
            return None  # damaged there, or not what it is said to be: the origin has it
