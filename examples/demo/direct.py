"""Reading an S3 face whole, as a training job without a mount does it: obstore, many at once.

Takes the arguments of `train`, with a bucket as the place; endpoint and keys come from the environment, as S3 clients take them.
"""

import asyncio
import hashlib
import os
import time

from examples.demo.train import Pass, Sample, Take, run
from obstore import get_async
from obstore.store import S3Store

CONCURRENCY = 16


def environment(endpoint: str, keys: tuple[str, str]) -> dict[str, str]:
    """For a program that reads there."""
    return {"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": keys[0], "AWS_SECRET_ACCESS_KEY": keys[1]}


def open_store(bucket: str, endpoint: str, keys: tuple[str, str]) -> S3Store:
    return S3Store(
        bucket,
        endpoint=endpoint,
        access_key_id=keys[0],
        secret_access_key=keys[1],
        region="us-east-1",
        virtual_hosted_style_request=False,
        client_options={"allow_http": True, "timeout": "120s"},
    )


def epoch(what: Pass, take: Take) -> None:
    keys = (os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
    asyncio.run(_read(open_store(what.place, os.environ["AWS_ENDPOINT_URL"], keys), what, take))


async def _read(store: S3Store, what: Pass, take: Take) -> None:
    gate = asyncio.Semaphore(what.width)

    async def read(name: str) -> None:
        async with gate:
            start = time.monotonic()
            data = memoryview(await (await get_async(store, name)).bytes_async())
        digest = await asyncio.to_thread(lambda: hashlib.sha256(data).digest())  # beside the loop
        take([Sample(name, len(data), digest, start, time.monotonic())])

    await asyncio.gather(*map(read, what.order()))


if __name__ == "__main__":
    run(epoch)
