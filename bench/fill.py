"""Cold reads: through an empty member against straight from the origin, from a store 40 ms and 2 Gbit/s away.

Ceph's object gateway holds the objects, bench/rig/region.py gives it the distance. One client (obstore, bytes checked by
CRC32C) reads them in shuffled order, the same code against both:

small  2,000 objects of 100 KB, 32 at once, one GET each            goal 0.95 of direct
large  8 objects of 64 MiB, 16 ranges of 8 MiB at once              goal 0.95 of direct

The rival is obstore as its users tune it: many requests at once, large objects cut in ranges, connections kept. Each run of
either side begins with new connections; each of Forebay's also with a new member, an empty store and a catalog that has read
nothing yet. "origin requests" are those that really reached the store.

  --only small|large     --rounds N (default 9)
"""

import asyncio
import contextlib
import pathlib
import random
import shutil
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import crc32c
import obstore
from obstore.store import S3Store
from pydantic import SecretStr
from tests.rigs.rgw import Gateway, gateway, missing

from bench.harness import Cpu, Measure, Sample, rounds, run
from bench.rig.member import dataset, member
from bench.rig.region import Region, region
from forebay_cache.contract.config import Credentials, S3Source, Source

SEED = 20260101
SMALL = (2000, 100_000)
LARGE = (8, 64 << 20)
RANGE = 8 << 20
SMALL_AT_ONCE, LARGE_AT_ONCE = 32, 16
MEMORY = 4 << 30


@dataclass(frozen=True, slots=True)
class Piece:
    """One GET: bytes [start, stop) of an object, and what their CRC32C must be."""

    name: str
    start: int
    stop: int
    crc: int


@dataclass(frozen=True, slots=True)
class Stage:
    """What all runs share. `catalog` is a synced member's, copied for each run."""

    folder: pathlib.Path
    remote: Region
    bucket: str
    source: Source
    head: str
    catalog: pathlib.Path


def main(arguments: list[str]) -> int:
    if reason := missing():
        raise SystemExit(reason)
    only = arguments[arguments.index("--only") + 1] if "--only" in arguments else ""
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="forebay-fill-", dir="/var/tmp")))
        store = stack.enter_context(gateway(folder / "rgw", memory=MEMORY))
        bucket = store.bucket("fill")
        small = upload(store, bucket, "small", SMALL)
        large = upload(store, bucket, "large", LARGE)
        stage = prepare(folder, store, stack.enter_context(region(store.endpoint)), bucket)
        measures = [
            measure("fill.small", "objects/s", stage, small, SMALL_AT_ONCE),
            measure("fill.large", "MB/s", stage, large, LARGE_AT_ONCE),
        ]
        return run("fill", [one for one in measures if only in one.name], rounds(arguments))


def upload(store: Gateway, bucket: str, kind: str, shape: tuple[int, int]) -> list[Piece]:
    """Random bytes, the same in every run, past the proxy. -> the GETs that read them all"""
    client, (count, size) = store.client(), shape
    generator = random.Random(f"{SEED} {kind}")
    pieces = []
    with ThreadPoolExecutor(8) as threads:
        for number in range(count):
            name, data = f"{kind}/{number % 20:02}/{number:05}.bin", generator.randbytes(size)
            done = threads.submit(client.put_object, Bucket=bucket, Key=name, Body=data)
            if size > RANGE or number % 64 == 0:
                done.result()  # bounds what waits in memory
            cuts = range(0, size, RANGE)
            pieces += [Piece(name, at, min(at + RANGE, size), crc32c.crc32c(data[at : at + RANGE])) for at in cuts]
    return pieces


def prepare(folder: pathlib.Path, store: Gateway, remote: Region, bucket: str) -> Stage:
    """One member syncs; every run begins with a copy of its catalog."""
    keys = Credentials(access_key_id=store.access_key, secret_access_key=SecretStr(store.secret_key))
    source = Source(name="all", s3=S3Source(bucket=bucket, endpoint=remote.endpoint), credentials=keys)
    with member(folder / "first", folder / "catalog", dataset(source, None)) as running:
        commit = running.sync().commit
    assert commit
    return Stage(folder, remote, bucket, source, commit.id, folder / "catalog")


def measure(name: str, unit: str, stage: Stage, pieces: Sequence[Piece], at_once: int) -> Measure:
    generator = random.Random(SEED)

    def through_forebay() -> Sample:
        work = stage.folder / "run"
        shutil.copytree(stage.catalog, stage.folder / "run-catalog")
        try:
            with member(work, stage.folder / "run-catalog", dataset(stage.source, stage.head)) as running:
                return timed(member_store(running.endpoint), [running.pid])
        finally:
            shutil.rmtree(work)
            shutil.rmtree(stage.folder / "run-catalog")

    def direct() -> Sample:
        return timed(origin_store(stage), [])

    def timed(store: S3Store, pids: Sequence[int]) -> Sample:
        order = generator.sample(pieces, len(pieces))
        stage.remote.reset()
        cpu, start = Cpu(pids), time.perf_counter()
        waits = asyncio.run(read(store, order, at_once))
        took = time.perf_counter() - start
        size = sum(piece.stop - piece.start for piece in pieces)
        shown = {
            "ms p50": waits[len(waits) // 2] * 1e3,
            "ms p99": waits[len(waits) * 99 // 100] * 1e3,
            "origin requests": stage.remote.counters()["requests"],
            "s member CPU/GB": cpu.processes_s() / size * 1e9,
            "s machine CPU/GB": cpu.machine_s() / size * 1e9,
        }
        return Sample(len(pieces) / took if unit == "objects/s" else size / took / 1e6, shown)

    return Measure(name, unit, through_forebay, direct, goal=0.95, rival_name="direct")


async def read(store: S3Store, pieces: Sequence[Piece], at_once: int) -> list[float]:
    """Reads all, checks all. -> seconds each took, sorted"""
    left = iter(pieces)
    waits: list[float] = []

    async def reader() -> None:
        for piece in left:
            start = time.perf_counter()
            data = await obstore.get_range_async(store, piece.name, start=piece.start, end=piece.stop)
            waits.append(time.perf_counter() - start)
            if len(data) != piece.stop - piece.start or crc32c.crc32c(data) != piece.crc:
                raise SystemExit(f"{piece.name} [{piece.start}, {piece.stop}): wrong bytes")

    await asyncio.gather(*(reader() for _ in range(at_once)))
    return sorted(waits)


def origin_store(stage: Stage) -> S3Store:
    keys = stage.source.credentials
    assert keys
    return S3Store(
        stage.bucket,
        endpoint=stage.remote.endpoint,
        region="us-east-1",
        access_key_id=keys.access_key_id,
        secret_access_key=keys.secret_access_key.get_secret_value(),
        virtual_hosted_style_request=False,
        client_options={"allow_http": True, "timeout": "60s"},
    )


def member_store(endpoint: str) -> S3Store:
    return S3Store(
        "data",
        endpoint=endpoint,
        region="us-east-1",
        skip_signature=True,
        virtual_hosted_style_request=False,
        client_options={"allow_http": True, "timeout": "60s"},
    )
