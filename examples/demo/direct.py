"""The same reads straight from the origin, as a training job without a cache does them: obstore, many at once."""

import asyncio
import random
import time

from examples.demo.generator import Shape, blocks, names
from examples.demo.train import Result
from obstore import get_async
from obstore.store import S3Store

CONCURRENCY = 16


async def read(store: S3Store, name: str, shape: Shape, gate: asyncio.Semaphore) -> tuple[int, bool]:
    async with gate:
        answer = await get_async(store, name)
        data = await answer.bytes_async()
    return len(data), memoryview(data) != b"".join(blocks(name, shape))


async def epoch(store: S3Store, shape: Shape, seed: int) -> Result:
    """Reads every object once, shuffled; verification runs while others read, as in a real loader."""
    order = names(shape)
    random.Random(seed).shuffle(order)
    gate = asyncio.Semaphore(CONCURRENCY)
    start = time.perf_counter()
    results = await asyncio.gather(*(read(store, name, shape, gate) for name in order))
    return Result(
        len(results), sum(size for size, _ in results), time.perf_counter() - start, sum(wrong for _, wrong in results)
    )
