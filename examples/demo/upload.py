"""Puts the demo's data where it starts from: a bucket, or a directory."""

import asyncio
import pathlib
from collections.abc import Callable

import obstore
from examples.demo.generator import Shape, blocks, names
from obstore.store import S3Store

CONCURRENCY = 16
PART = 16 << 20


async def to_bucket(store: S3Store, shape: Shape, tell: Callable[[int], None]) -> None:
    """`tell` gets the bytes of each object as it lands."""
    gate = asyncio.Semaphore(CONCURRENCY)

    async def put(name: str) -> None:
        async with gate:
            data = b"".join(blocks(name, shape))
            await obstore.put_async(store, name, data, chunk_size=PART, attributes={"Content-Type": kind(name)})
            tell(len(data))

    await asyncio.gather(*(put(name) for name in names(shape)))


def to_directory(folder: pathlib.Path, shape: Shape, tell: Callable[[int], None]) -> None:
    for name in names(shape):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as file:
            for block in blocks(name, shape):
                file.write(block)
                tell(len(block))


def kind(name: str) -> str:
    return "image/jpeg" if name.endswith(".jpg") else "application/octet-stream"
