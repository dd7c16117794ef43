"""What a member keeps, by its own parts: read path and store on disk, over an origin in memory; chunks of 128 KiB."""

import asyncio
import contextlib
import os
import pathlib
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field

from forebay_cache.catalog.base import Part
from forebay_cache.model.ids import BLOCK_SIZE, Extent, SegmentId
from forebay_cache.origin.base import ObjectHead
from forebay_cache.origin.memory import MemoryOrigin
from forebay_cache.read.reader import ChunkReader
from forebay_cache.store.base import Payer
from forebay_cache.store.disk import DiskStore
from forebay_cache.store.ledger import Limits
from forebay_cache.store.policies.rules import Rules

SIZE = 128 << 10
PERCENT = 90
"""The watermarks, both: else LRU has more or less room at different times."""


@dataclass(frozen=True, slots=True)
class OneFile:
    """The parts table of a segment that is one small file, hence one small chunk."""

    segment: SegmentId
    head: ObjectHead
    origin: str = "memory"
    size: int = SIZE

    def __len__(self) -> int:
        return 1

    def part(self, index: int) -> Part:
        return Part(index, 0, SIZE, self.head.object.key, self.head.object.etag, self.head.object.version)

    def at(self, offset: int) -> Part:
        del offset
        return self.part(0)

    def within(self, start: int, stop: int) -> Sequence[Part]:
        del start, stop
        return [self.part(0)]


@dataclass(slots=True)
class Files:
    """As much of a Catalog as the read path asks for."""

    tables: Mapping[SegmentId, OneFile]
    recorded: dict[SegmentId, Mapping[str, str]] = field(default_factory=dict)

    def parts(self, segment: SegmentId) -> OneFile:
        return self.tables[segment]

    opened = parts

    def ancestors(self, segment: SegmentId, part: int) -> Sequence[object]:
        del segment, part
        return ()

    def headers(self, segment: SegmentId, part: int) -> Mapping[str, str] | None:
        del part
        return self.recorded.get(segment)

    def record_headers(self, segment: SegmentId, part: int, headers: Mapping[str, str]) -> None:
        del part
        self.recorded[segment] = headers


async def hits(policy: str, chunks: int, fits: int, reads: Iterable[tuple[int, bool]]) -> float:
    """The hit ratio of the reads that count; of a Dataset of `chunks` of which `fits` fit."""
    segments = [SegmentId(number.to_bytes(32, "big")) for number in range(chunks)]
    async with keeper(policy, segments, fits) as reader:
        hit = total = 0
        for chunk, counts in reads:
            before = reader.counters.hits
            async with aclosing(reader.pieces(Extent(segments[chunk], 0, SIZE))) as pieces:  # type: ignore[type-var]
                async for piece in pieces:
                    if len(os.pread(piece.fd, piece.length, piece.offset)) != piece.length:
                        raise SystemExit(f"chunk {chunk}: bytes are missing")
            hit += (reader.counters.hits - before) * counts
            total += counts
    return hit / total


@contextlib.asynccontextmanager
async def keeper(policy: str, segments: Sequence[SegmentId], fits: int) -> AsyncIterator[ChunkReader]:
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="forebay-epochs-", dir="/var/tmp"))
        )
        pool = stack.enter_context(ThreadPoolExecutor(4))
        origin, files = await stored(segments)
        blocks = await blocks_a_chunk(folder / "measured", files, origin, pool)
        limits = Limits(-(-(fits * blocks + blocks // 2) * 100 // PERCENT) * BLOCK_SIZE, PERCENT, PERCENT)
        store = stack.enter_context(contextlib.closing(opened(folder / "store", limits)))
        store.govern({"data": Rules(policy)}, lambda _: Payer("data"))
        reader = ChunkReader(store, files, lambda _: origin, pool, time.monotonic)  # type: ignore[arg-type]
        try:
            yield reader
        finally:
            await reader.aclose()


async def stored(segments: Sequence[SegmentId]) -> tuple[MemoryOrigin, Files]:
    origin = MemoryOrigin({segment.hex().encode(): bytes(SIZE) for segment in segments})
    heads = {segment: await origin.head(segment.hex().encode()) for segment in segments}
    return origin, Files({segment: OneFile(segment, head) for segment, head in heads.items()})


async def blocks_a_chunk(path: pathlib.Path, files: Files, origin: MemoryOrigin, pool: ThreadPoolExecutor) -> int:
    """What one uses on this disk."""
    with contextlib.closing(opened(path, Limits(1 << 30))) as store:
        reader = ChunkReader(store, files, lambda _: origin, pool, time.monotonic)  # type: ignore[arg-type]
        async with aclosing(reader.pieces(Extent(next(iter(files.tables)), 0, SIZE))) as pieces:  # type: ignore[type-var]
            async for _ in pieces:
                await asyncio.sleep(0)
        await reader.aclose()
        return store.stats().used // BLOCK_SIZE


def opened(path: pathlib.Path, limits: Limits) -> DiskStore:
    return DiskStore.open(str(path), limits, cluster_uid="bench", boot_id="bench")
