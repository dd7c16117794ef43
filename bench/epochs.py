"""Hit ratios of the eviction policies: shuffled epochs over twice the cache, and Zipf traffic; simulated, and by a member.

epochs.whole   one job, one read a chunk                         goal: within a point of cache/dataset
epochs.packed  80 small files a chunk, in random order           likewise
epochs.jobs    three jobs, each at its own phase                 likewise
member.epoch   epochs.whole by a member's read path and store on disk   goal: within a point of the simulation
member.lru     the same reads by lru                              likewise; "points off" is absolute
zipf.A.B%      alpha A over 20,000 chunks, a cache of B% of them  goal: within a point of libcachesim's S3-FIFO

The rival of `epoch` is what a cache that never replaces must hit: cache/dataset. lru stands beside it, and what it tends to
by formula where each chunk is read once an epoch: c + (1 - c) ln(1 - c). The cold epoch does not count. The rival of
`s3fifo` is libcachesim's, which is given the same reads; its lru stands beside. Each round has its own seed.

A member's chunks are 128 KiB here, and its ghost queue is made for chunks of 8 MiB: hence no member.s3fifo. All but member.*
are simulations: no bytes, no I/O.

  --only epochs|member|zipf     --rounds N (default 9)
"""

import asyncio
import math
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import accumulate

import libcachesim
from tests.rigs.policies import Simulation

from bench.harness import Measure, Sample, Side, rounds, run
from bench.rig.keeper import hits

SEED = 20260101
CHUNKS, EPOCHS = 1000, 6
MEMBER_CHUNKS = 300
FILES = 80
PACKED_CHUNKS = 200
JOBS = 3
ZIPF_CHUNKS, ZIPF_READS = 20_000, 100_000
ALPHAS, SIZES = (0.8, 1.0, 1.2), (0.01, 0.1, 0.3)
POINT = 0.01

Read = tuple[int, bool]
"""A chunk, and whether the read counts."""


def main(arguments: list[str]) -> int:
    only = arguments[arguments.index("--only") + 1] if "--only" in arguments else ""
    measures = [
        epoch_measure("epochs.whole", CHUNKS, 1.0, one_job),
        epoch_measure("epochs.packed", PACKED_CHUNKS, 1 / FILES, one_packed_job),
        epoch_measure("epochs.jobs", CHUNKS, 1.0, several_jobs),
        *(member_measure(policy) for policy in ("epoch", "lru")),
        *(zipf_measure(alpha, size) for alpha in ALPHAS for size in SIZES),
    ]
    return run("epochs", [one for one in measures if only in one.name], rounds(arguments), warmups=0)


def epoch_measure(name: str, chunks: int, share: float, reads: Callable[[random.Random], Iterator[Read]]) -> Measure:
    """Goal 0.98 of 0.5 is a point."""
    fits = chunks // 2

    def side(policy: str) -> Side:
        seeds = iter(range(SEED, SEED + 1000))

        def once() -> Sample:
            ratio = counted(Simulation(fits, policy), reads(random.Random(next(seeds))), share)
            return Sample(ratio, {"points off": 100 * abs(ratio - 0.5)})

        return once

    beside = {"lru": side("lru")}
    if reads is one_job:
        beside["lru by formula"] = partial(Sample, 0.5 + 0.5 * math.log(0.5))
    goal = 1 - POINT / 0.5
    return Measure(name, "hit ratio", side("epoch"), partial(Sample, 0.5), goal, beside, rival_name="cache/dataset")


def counted(cache: Simulation, reads: Iterator[Read], share: float) -> float:
    hits = total = 0
    for chunk, counts in reads:
        hit = cache.read(chunk, share)
        hits, total = hits + (hit and counts), total + counts
    return hits / total


def one_job(rng: random.Random, chunks: int = CHUNKS) -> Iterator[Read]:
    for epoch in range(EPOCHS):
        yield from ((chunk, epoch > 0) for chunk in rng.sample(range(chunks), chunks))


def one_packed_job(rng: random.Random) -> Iterator[Read]:
    files = PACKED_CHUNKS * FILES
    for epoch in range(EPOCHS):
        yield from ((file // FILES, epoch > 0) for file in rng.sample(range(files), files))


def several_jobs(rng: random.Random) -> Iterator[Read]:
    """The first two epochs of each do not count: in the first, jobs read what another has just brought in."""
    left = [rng.sample(range(CHUNKS), CHUNKS)[: rng.randrange(CHUNKS)] for _ in range(JOBS)]
    for step in range(JOBS * CHUNKS * (EPOCHS + 2)):
        todo = left[step % JOBS]
        if not todo:
            todo += rng.sample(range(CHUNKS), CHUNKS)
        yield todo.pop(), step >= 2 * JOBS * CHUNKS


def member_measure(policy: str) -> Measure:
    """The same reads, by real parts and by the simulation. Less than a point of any ratio above 0.15."""
    mine, theirs = iter(range(SEED, SEED + 1000)), iter(range(SEED, SEED + 1000))
    fits = MEMBER_CHUNKS // 2

    def simulation(seed: int) -> float:
        return counted(Simulation(fits, policy), one_job(random.Random(seed), MEMBER_CHUNKS), 1.0)

    def member() -> Sample:
        seed = next(mine)
        ratio = asyncio.run(hits(policy, MEMBER_CHUNKS, fits, one_job(random.Random(seed), MEMBER_CHUNKS)))
        return Sample(ratio, {"points off": 100 * abs(ratio - simulation(seed))})

    def simulated_beside() -> Sample:
        return Sample(simulation(next(theirs)))

    goal = 1 - POINT / (0.5 if policy == "epoch" else 0.15)
    return Measure(f"member.{policy}", "hit ratio", member, simulated_beside, goal, rival_name="simulation")


def zipf_measure(alpha: float, size: float) -> Measure:
    """Goal 0.99 of any ratio is less than a point."""
    weights = list(accumulate((rank + 1) ** -alpha for rank in range(ZIPF_CHUNKS)))
    fits = int(ZIPF_CHUNKS * size)

    def side(hits: Callable[[Sequence[int]], float]) -> Side:
        seeds = iter(range(SEED, SEED + 1000))

        def once() -> Sample:
            rng = random.Random(next(seeds))
            return Sample(hits(rng.choices(range(ZIPF_CHUNKS), cum_weights=weights, k=ZIPF_READS)))

        return once

    ours, theirs = side(partial(simulated, "s3fifo", fits)), side(partial(libcachesims, libcachesim.S3FIFO, fits))
    beside = {"lru": side(partial(libcachesims, libcachesim.LRU, fits))}
    return Measure(f"zipf.{alpha}.{size:.0%}", "hit ratio", ours, theirs, 1 - POINT, beside, rival_name="libcachesim")


def simulated(policy: str, fits: int, reads: Sequence[int]) -> float:
    return Simulation(fits, policy).run(reads)


def libcachesims(policy: type[libcachesim.CacheBase], fits: int, reads: Sequence[int]) -> float:
    cache, request, hits = policy(cache_size=fits, hashpower=16), libcachesim.Request(), 0
    request.obj_size = 1
    for request.obj_id in reads:
        hits += cache.get(request)
    return hits / len(reads)
