"""How a flight lands when others come and go meanwhile."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from forebay_cache.catalog.base import Part
from forebay_cache.model.errors import DeadlineExceeded
from forebay_cache.model.ids import ChunkId, SegmentId
from forebay_cache.read.flight import Flight
from forebay_cache.read.flights import Flights
from forebay_cache.read.jobs import Job
from forebay_cache.store.base import Fill, Lease

CHUNK = ChunkId(SegmentId(bytes(32)), 0)
LENGTH = 4096


@dataclass
class Whole:
    """A fill that lacks nothing, or all; `complete` waits until it may go on."""

    go: threading.Event = field(default_factory=threading.Event)
    said: list[str] = field(default_factory=list)
    lacks: bool = False

    def write(self, offset: int, data: object) -> None: ...

    def missing(self, start: int, stop: int) -> Sequence[tuple[int, int]]:
        return [(start, stop)] if self.lacks else []

    def lease(self) -> Lease:
        raise NotImplementedError

    def complete(self, gone: Sequence[tuple[int, int]] = ()) -> None:
        self.said.append("completing")
        assert self.go.wait(30)
        self.said.append("completed")

    def close(self) -> None:
        self.said.append("closed")


PART = Part(0, 0, LENGTH, b"k", "e", None)
JOB = Job(CHUNK.segment, "memory", PART, 0, LENGTH, 0, LENGTH)


async def run(_: Job, __: Fill, ___: Callable[[], None]) -> None:
    raise AssertionError("nothing is missing")


async def test_who_comes_and_goes_while_it_lands_does_not_close_what_is_being_completed() -> None:
    fill = Whole()
    with ThreadPoolExecutor(2) as pool:
        flights = Flights(lambda _, __: fill, run, pool)
        async with flights.join(CHUNK, LENGTH):
            pass
        async with asyncio.timeout(20):
            while not fill.said:
                await asyncio.sleep(0.001)
        async with flights.join(CHUNK, LENGTH):
            pass
        for _ in range(20):
            await asyncio.sleep(0)
        assert fill.said == ["completing"]
        fill.go.set()
        await flights.aclose()
    assert fill.said == ["completing", "completed", "closed"]
    assert len(flights) == 0


async def test_who_waits_for_bytes_that_do_not_come_is_told_in_time() -> None:
    """Also where other bytes of the chunk keep coming."""
    others: list[Callable[[], None]] = []

    async def hang(_: Job, __: Fill, came: Callable[[], None]) -> None:
        others.append(came)
        await asyncio.Event().wait()

    flight = Flight(Whole(lacks=True), hang, lambda _: None)
    flight.want([JOB])

    async def chatter() -> None:
        while True:
            await asyncio.sleep(0.001)
            for came in others:
                came()

    talking = asyncio.create_task(chatter())
    try:
        async with asyncio.timeout(20):
            with pytest.raises(DeadlineExceeded, match=r"no byte of \[0, 4096\) came within 0\.05 s"):
                await anext(flight.ready([JOB], 0, LENGTH, 0.05))
    finally:
        talking.cancel()
        flight.stop()
        await flight.settle()
