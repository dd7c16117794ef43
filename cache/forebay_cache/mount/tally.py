"""What a worker counts, in memory it shares with the agent: nothing to send, and nothing is lost with a worker.

A table of u64: READs by result, bytes, the sum of latencies in nanoseconds, then the latency histogram. Hot: 60 ns a number.
"""

import mmap
import os
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field

from forebay_cache.contract.metrics import LATENCY_BUCKETS

RESULTS = ("hit", "miss", "padding", "error", "expired", "refused")
"""Held descriptor; member asked; no chunk there; the member's or disk's error; deadline passed; member was failing fast."""
HIT, MISS, PADDING, ERROR, EXPIRED, REFUSED = range(len(RESULTS))
_BYTES = len(RESULTS)
_NANOSECONDS = _BYTES + 1
_BUCKETS = _NANOSECONDS + 1
_NUMBERS = _BUCKETS + len(LATENCY_BUCKETS) + 1
_BOUNDS = [int(bound * 1e9) for bound in LATENCY_BUCKETS]


@dataclass(slots=True)
class Totals:
    """Sums over workers."""

    results: list[int] = field(default_factory=lambda: [0] * len(RESULTS))
    bytes: int = 0
    seconds: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BUCKETS) + 1))

    def add(self, other: "Totals") -> None:
        self.results = [a + b for a, b in zip(self.results, other.results, strict=True)]
        self.buckets = [a + b for a, b in zip(self.buckets, other.buckets, strict=True)]
        self.bytes += other.bytes
        self.seconds += other.seconds


class Tally:
    """One worker's numbers, in a file that both sides map."""

    def __init__(self, fd: int) -> None:
        self._numbers = memoryview(mmap.mmap(fd, mmap.PAGESIZE)).cast("Q")

    def note(self, result: int, length: int, nanoseconds: int) -> None:
        numbers = self._numbers
        numbers[result] += 1
        numbers[_BYTES] += length
        numbers[_NANOSECONDS] += nanoseconds
        numbers[_BUCKETS + bisect_left(_BOUNDS, nanoseconds)] += 1

    def totals(self) -> Totals:
        numbers = list(self._numbers[:_NUMBERS])
        return Totals(numbers[:_BYTES], numbers[_BYTES], numbers[_NANOSECONDS] / 1e9, numbers[_BUCKETS:])


def new_tally_file() -> int:
    """A descriptor to give a worker."""
    fd = os.memfd_create("forebay-tally")
    os.ftruncate(fd, mmap.PAGESIZE)
    return fd


def summed(totals: Iterable[Totals]) -> Totals:
    result = Totals()
    for one in totals:
        result.add(one)
    return result
