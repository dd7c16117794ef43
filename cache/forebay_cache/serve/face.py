"""What all connections of one S3 face share."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from email.utils import formatdate
from typing import Protocol

from forebay_cache.model.ids import ChunkId
from forebay_cache.read.base import Reader
from forebay_cache.serve.auth import Guard
from forebay_cache.serve.base import Accesses, Datasets, Limits
from forebay_cache.serve.leases import Pins
from forebay_cache.serve.objects import Objects
from forebay_cache.serve.pagecache import PageCache
from forebay_cache.serve.refusals import Refusals
from forebay_cache.serve.request import Request
from forebay_cache.serve.s3 import S3, Place
from forebay_cache.serve.tally import Tally
from forebay_cache.telemetry import Telemetry

REFUSED_AT_ONCE = 64
"""Connections beyond the limit that still get an answer which says so."""


class Peer(Protocol):
    """A connection, as the face sees it."""

    def abort(self) -> None: ...
    def close_idle(self) -> None: ...
    def check(self, now: float) -> None: ...


def _unreported(chunk: ChunkId, requests: int, size: int) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Site:
    """What an S3 face shows. `now` is wall time."""

    reader: Reader
    datasets: Datasets
    metrics: Telemetry
    accesses: Accesses = _unreported
    region: str = "us-east-1"
    now: Callable[[], float] = time.time


class Face:
    """Made by `start_s3`. `tick` counts half seconds; an object seen in the page cache is asked for again at the next."""

    def __init__(self, site: Site, limits: Limits) -> None:
        self.loop = asyncio.get_running_loop()
        self.limits = limits
        self.monotonic = time.monotonic
        self.tick = 0
        self.page_cache = PageCache(self.loop, limits.threads)
        self.pins = Pins(site.reader, limits.hot_chunks)
        began = site.now()
        guard = Guard(site.datasets, site.region, site.now)
        self.objects = Objects(site.datasets, guard, limits.hot_objects)
        place = Place(site.region, int(began * 1000))
        self.s3 = S3(site.reader, site.datasets, (self.objects, self.pins), guard, place)
        self.tally = Tally(site.metrics)
        self.tally.watch(lambda: len(self.connections), lambda: len(self.objects), lambda: len(self.pins))
        self.refusals = Refusals(self.monotonic)
        self._accesses = site.accesses
        self._now = site.now
        self.connections: set[Peer] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.empty = asyncio.Event()
        self.empty.set()
        self._served = 0
        self._instance = int(began) & 0xFFFFFFFF
        self._date = b""
        self.mark_time()

    @property
    def request_id(self) -> str:
        """Of the next answer."""
        return f"{self._instance:08X}{self._served & 0xFFFFFFFF:08X}"

    def stamp(self, request: Request | None) -> bytes:
        """The headers that differ each time, and the blank line."""
        line = b"%bx-amz-request-id: %08X%08X\r\n" % (self._date, self._instance, self._served & 0xFFFFFFFF)
        self._served += 1
        if request is None or not request.keep_alive:
            return line + b"Connection: close\r\n\r\n"
        return line + (b"Connection: keep-alive\r\n\r\n" if b"connection" in request.headers else b"\r\n")

    def admit(self, connection: Peer) -> bool:
        full = len(self.connections) >= self.limits.connections
        if full:
            self.tally.refused.add(1)
            if len(self.connections) >= self.limits.connections + REFUSED_AT_ONCE:
                self.loop.call_soon(connection.abort)
        self.connections.add(connection)
        self.empty.clear()
        return not full

    def leave(self, connection: Peer) -> None:
        self.connections.discard(connection)
        if not self.connections:
            self.empty.set()

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """A task of a connection; the face awaits it at the end."""
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def at_tick(self) -> None:
        """Twice a second."""
        self.tick += 1
        self.mark_time()
        self.pins.report(self._accesses)

    def mark_time(self) -> None:
        self._date = f"Date: {formatdate(self._now(), usegmt=True)}\r\n".encode()
