"""One prefetch: passes over the chosen files until one finds that nothing is missing. That last pass is the proof."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from forebay_cache.member.prefetch.progress import Progress
from forebay_cache.member.prefetch.units import Slice, Unit
from forebay_cache.model.errors import ForebayError, StoreFull
from forebay_cache.read.base import Loader, Lost

LANES = 4
"""Chunks brought at once: few, so that readers find the origin free."""
WAITS_S = (0.0, 0.0, 1.0, 5.0, 25.0)
"""Before each pass. The second is at once: most often it is the proof."""


@dataclass(frozen=True, slots=True)
class Source:
    """`units` begins anew with each call. `room`: bytes this member may ever hold."""

    loader: Loader
    units: Callable[[], Iterator[Unit]]
    room: int


class Run:
    """`bytes_per_second`: what may be fetched; None: all that goes. `now` is monotonic."""

    def __init__(
        self,
        source: Source,
        progress: Progress,
        bytes_per_second: int | None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._loader, self._units, self._room = source.loader, source.units, source.room
        self._progress, self._limit, self._sleep = progress, bytes_per_second, sleep
        self._free_at = progress.now()
        self._missing = 0

    async def run(self) -> str:
        """-> why it is not complete; "" when it is. Raises StoreFull when it never can be; BadInput for paths that are not
        there."""
        await self._count()
        for wait in WAITS_S:
            await self._sleep(wait)
            await self._pass()
            if not self._missing:
                return ""
        if failed := len(self._progress.failures):
            key, why = next(iter(self._progress.failures.items()))
            return f"{failed} files could not be read, the first is {key.decode(errors='replace')!r}: {why}"
        return "files were evicted again as fast as they came: the store has too little room beside what else is read"

    async def _count(self) -> None:
        for unit in self._units():
            self._progress.files += sum(one.ends for one in unit.slices)
            self._progress.bytes += unit.size
            await asyncio.sleep(0)
        if self._progress.bytes > self._room:
            raise StoreFull(
                f"{self._progress.bytes} bytes were asked for, and this member's store holds {self._room}: choose a prefix"
                " or paths, or raise the cluster's capacity"
            )

    async def _pass(self) -> None:
        self._progress.begin_pass()
        self._missing = 0
        rest = self._units()
        async with asyncio.TaskGroup() as lanes:
            for _ in range(LANES):
                lanes.create_task(self._lane(rest))

    async def _lane(self, rest: Iterator[Unit]) -> None:
        for unit in rest:
            absent = [one for one in unit.slices if not self._holds(one)]
            lost = await self._load(absent) if absent else []
            for one in unit.slices:
                self._done(one, lost)
            await asyncio.sleep(0)

    def _holds(self, one: Slice) -> bool:
        try:
            return self._loader.holds(one.span)
        except ForebayError:
            return False  # quarantined, or the disk fails: then `load` says so

    async def _load(self, absent: list[Slice]) -> list[Lost]:
        size = sum(one.span.length for one in absent)
        self._missing += size
        await self._turn(size)
        try:
            lost = list(await self._loader.load([one.span for one in absent]))
        except ForebayError as exc:
            lost = [Lost(one.span.start, one.span.stop, exc) for one in absent]
        self._progress.came(size - sum(one.span.length for one in absent if _why(one, lost)))
        return lost

    async def _turn(self, size: int) -> None:
        if self._limit is None:
            return
        now = self._progress.now()
        wait, self._free_at = self._free_at - now, max(now, self._free_at) + size / self._limit
        if wait > 0:
            await self._sleep(wait)

    def _done(self, one: Slice, lost: list[Lost]) -> None:
        if why := _why(one, lost):
            self._progress.failures[one.key] = why
        else:
            self._progress.bytes_done += one.span.length
            self._progress.files_done += one.ends and one.key not in self._progress.failures


def _why(one: Slice, lost: list[Lost]) -> str:
    return next((str(bad.error) for bad in lost if bad.start < one.span.stop and one.span.start < bad.stop), "")
