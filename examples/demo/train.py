"""A training job's input pipeline, which knows nothing of Forebay: plain `open` and `read` in several processes.

    python -m examples.demo.train FOLDER --seed 1 --processes 4 --photos 3000 ...

Reads every file below FOLDER once, in an order shuffled by the seed, and hashes every byte. The clock runs from the first
open to the last byte. Then it makes every file anew by the generator and compares the hashes. Prints a line of JSON for
each batch and each comparison, and one for the whole at the end.
"""

import argparse
import ctypes
import hashlib
import json
import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from examples.demo.generator import BLOCK, Shape, blocks, names

BATCH = 32


@dataclass(frozen=True, slots=True)
class Sample:
    """One file that was read; start and end on the clock that all processes share."""

    name: str
    size: int
    digest: bytes
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Result:
    """`seconds`: from the first open to the last byte; `wrong`: files that differ from the generator."""

    files: int
    bytes: int
    seconds: float
    wrong: int


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass over everything. `place`: a folder, or a bucket; `width`: processes, or requests at once."""

    place: str
    shape: Shape
    seed: int
    width: int

    def order(self) -> list[str]:
        order = names(self.shape)
        random.Random(self.seed).shuffle(order)
        return order


Take = Callable[[list[Sample]], None]
"""Gets each batch when it was read."""


def read_file(folder: str, name: str) -> Sample:
    start, size, digest = time.monotonic(), 0, hashlib.sha256()
    with open(os.path.join(folder, name), "rb", buffering=0) as file:
        while data := file.read(BLOCK):
            digest.update(data)
            size += len(data)
    return Sample(name, size, digest.digest(), start, time.monotonic())


def read_batch(task: tuple[str, list[str]]) -> list[Sample]:
    folder, batch = task
    return [read_file(folder, name) for name in batch]


def epoch(what: Pass, take: Take) -> None:
    """In processes of its own, as data loaders do it."""
    order = what.order()
    tasks = [(what.place, order[at : at + BATCH]) for at in range(0, len(order), BATCH)]
    with multiprocessing.get_context("fork").Pool(what.width, end_with_parent) as pool:
        for batch in pool.imap_unordered(read_batch, tasks):
            take(batch)


def end_with_parent() -> None:
    """A pool's processes would wait for ever for a parent that was killed."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def judged(samples: Sequence[Sample], shape: Shape, tell: Callable[[int], None]) -> Result:
    """Compares what was read with the generator, on all cores: every file once, and nothing else."""
    wrong, wanted, seen = 0, Counter(names(shape)), Counter(sample.name for sample in samples)
    with multiprocessing.get_context("fork").Pool(os.cpu_count(), end_with_parent) as pool:
        for size, differs in pool.imap_unordered(judge, [(sample, shape) for sample in samples], chunksize=BATCH):
            wrong += differs
            tell(size)
    wrong += (wanted - seen).total() + (seen - wanted).total()
    seconds = max(one.end for one in samples) - min(one.start for one in samples)
    return Result(len(samples), sum(one.size for one in samples), seconds, wrong)


def judge(task: tuple[Sample, Shape]) -> tuple[int, bool]:
    sample, shape = task
    digest = hashlib.sha256()
    for block in blocks(sample.name, shape):
        digest.update(block)
    return sample.size, digest.digest() != sample.digest


def run(read: Callable[[Pass, Take], None]) -> None:
    """The command line of a reader."""
    what = arguments()
    samples: list[Sample] = []

    def take(batch: list[Sample]) -> None:
        samples.extend(batch)
        say({"read": sum(sample.size for sample in batch)})

    read(what, take)
    say(asdict(judged(samples, what.shape, lambda size: say({"verified": size}))))


def say(values: Mapping[str, float]) -> None:
    print(json.dumps(values), flush=True)


def arguments() -> Pass:
    parser = argparse.ArgumentParser(description="Read every file of a place once, shuffled, and verify every byte.")
    parser.add_argument("place")
    for name in ("seed", "width", *Shape.__dataclass_fields__):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, required=True)
    options = vars(parser.parse_args())
    shape = Shape(**{name: options[name] for name in Shape.__dataclass_fields__})
    return Pass(options["place"], shape, options["seed"], options["width"])


if __name__ == "__main__":
    run(epoch)
