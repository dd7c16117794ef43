"""Taking chosen files out of the store."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Executor

from forebay_cache.catalog.base import Catalog
from forebay_cache.member.prefetch.progress import Progress
from forebay_cache.member.prefetch.units import Unit
from forebay_cache.model.ids import CHUNK_SIZE, ChunkId, chunk_length
from forebay_cache.store.base import Store


async def evict(units: Iterator[Unit], store: Store, catalog: Catalog, pool: Executor, progress: Progress) -> str:
    """Deletes each chunk that holds nothing but chosen files. -> what stayed and why; "" where nothing did. What is read
    at this moment stays readable to its readers."""
    chosen: Counter[ChunkId] = Counter()
    for unit in units:
        chosen[unit.chunk] += unit.size
        progress.files += sum(one.ends for one in unit.slices)
        progress.bytes += unit.size
        await asyncio.sleep(0)
    kept, loop = 0, asyncio.get_running_loop()
    for chunk, size in chosen.items():
        if size < _used(catalog, chunk):
            kept += 1
        elif await loop.run_in_executor(pool, store.evict, chunk):
            progress.bytes_done += size
    if not kept:
        progress.files_done = progress.files
    return f"{kept} chunks stay, because they hold other files as well" if kept else ""


def _used(catalog: Catalog, chunk: ChunkId) -> int:
    """Bytes of files in the chunk."""
    parts = catalog.parts(chunk.segment)
    start = chunk.number * CHUNK_SIZE
    stop = start + chunk_length(parts.size, chunk.number)
    return sum(
        min(stop, part.offset + part.size) - max(start, part.offset)
        for part in parts.within(start, stop)
        if part.offset + part.size > start
    )
