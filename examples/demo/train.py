"""A training job's reader that knows nothing of Forebay: plain `open` and `read`, in several processes.

    python -m examples.demo.train FOLDER --seed 1 --processes 4 --photos 3000 ...

Reads every file below FOLDER once, in an order shuffled by the seed, compares each byte with the generator, and prints one
line of JSON. Verification runs outside of the timed part: a process reads a batch, stops its clock, verifies, goes on.
"""

import argparse
import json
import multiprocessing
import os
import random
import time
from dataclasses import asdict, dataclass
from typing import Any

from examples.demo.generator import Shape, blocks, names

BATCH = 32


@dataclass(slots=True)
class Result:
    """`seconds`: longest time any process spent reading; `wrong`: files that differ from the generator."""

    files: int = 0
    bytes: int = 0
    seconds: float = 0.0
    wrong: int = 0


def read_share(folder: str, share: list[str], shape: Shape) -> Result:
    result = Result()
    for first in range(0, len(share), BATCH):
        for name in share[first : first + BATCH]:
            wrong, size, seconds = read_file(folder, name, shape)
            result.files += 1
            result.bytes += size
            result.seconds += seconds
            result.wrong += wrong
    return result


def read_file(folder: str, name: str, shape: Shape) -> tuple[bool, int, float]:
    """-> (differs from the generator, bytes, seconds spent in open and read)"""
    size, spent, wrong = 0, 0.0, False
    start = time.perf_counter()
    with open(os.path.join(folder, name), "rb", buffering=0) as file:
        for expected in blocks(name, shape):
            wanted = len(expected)
            clock = time.perf_counter() if size else start
            data = read_exactly(file, wanted)
            spent += time.perf_counter() - clock
            wrong = wrong or data != expected
            size += len(data)
        wrong = wrong or bool(file.read(1))
    return wrong, size, spent


def read_exactly(file: Any, size: int) -> bytes:
    data = file.read(size)
    while len(data) < size and (more := file.read(size - len(data))):
        data += more
    return data


def epoch(folder: str, shape: Shape, seed: int, processes: int) -> Result:
    """One pass over everything, in `processes` processes."""
    order = names(shape)
    random.Random(seed).shuffle(order)
    shares = [(folder, order[n::processes], shape) for n in range(processes)]
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        results = pool.starmap(read_share, shares)
    return Result(
        sum(r.files for r in results),
        sum(r.bytes for r in results),
        max(r.seconds for r in results),
        sum(r.wrong for r in results),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Read every file of a folder once, shuffled, and verify every byte.")
    parser.add_argument("folder")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=4)
    for field in ("photos", "folders", "archives", "archive_size"):
        parser.add_argument(f"--{field.replace('_', '-')}", type=int, required=True)
    options = parser.parse_args()
    shape = Shape(options.photos, options.folders, options.archives, options.archive_size)
    print(json.dumps(asdict(epoch(options.folder, shape, options.seed, options.processes))))


if __name__ == "__main__":
    main()
