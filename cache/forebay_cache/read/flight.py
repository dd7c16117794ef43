"""Single flight: one fill of a chunk, however many wait for it.

A flight runs one job (a GET) for each part that is wanted; a job is shared by all who want its bytes. It goes on when they
have what they came for, and is cancelled when the last of them gives up. Blocks that were written stay in the store.
Source: the idea of Go's x/sync/singleflight; unlike it, waiters see bytes as they come, and giving up cancels.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence

from forebay_cache.model.errors import DeadlineExceeded, PartGone
from forebay_cache.read.jobs import Job, chunk_of
from forebay_cache.store.base import Fill

Run = Callable[[Job, Fill, Callable[[], None]], Coroutine[None, None, None]]
"""Does one job into a fill, and calls the last argument whenever bytes have become readable."""


class Flight:
    """The jobs of one chunk; `land` is called each time nobody is left."""

    def __init__(
        self,
        fill: Fill,
        run: Run,
        land: Callable[["Flight"], None],
    ) -> None:
        self.fill = fill
        self.completed: Sequence[tuple[int, int]] | None = None
        """What was missing and gone when the chunk was completed."""
        self.landing = asyncio.Lock()
        self._run = run
        self._land = land
        self._tasks: dict[Job, asyncio.Task[None]] = {}  # the newest try of each; kept when done, for its error
        self._running: set[asyncio.Task[None]] = set()  # all that may still write to the fill
        self._wanted: Counter[Job] = Counter()  # waiters of each
        self._waiting: set[asyncio.Future[bool]] = set()
        self._members = 0

    def __repr__(self) -> str:
        return f"<Flight {len(self._tasks)} jobs, {self._members} waiters>"

    def enter(self) -> None:
        """Before the first await, so that the flight cannot land in between. Pair with `leave`."""
        self._members += 1

    def want(self, wanted: Sequence[Job]) -> None:
        """Starts what is missing of `wanted`, and holds it until `release` or `abandon`."""
        for job in wanted:
            self._wanted[job] += 1
            task = self._tasks.get(job)
            if (task is None or task.done()) and self.fill.missing(job.start, job.stop):
                self._start(job)

    def release(self, wanted: Sequence[Job]) -> None:
        """The caller has its bytes. Jobs go on to their end: the rest of a slice is wanted next, and asked for once."""
        self._wanted.subtract(wanted)

    def abandon(self, wanted: Sequence[Job]) -> None:
        """The caller has given up; jobs that nobody else wants are cancelled."""
        for job in wanted:
            self._wanted[job] -= 1
            task = self._tasks.get(job)
            if self._wanted[job] <= 0 and task and not task.done():
                del self._tasks[job]
                task.cancel()

    async def bring(self, job: Job) -> None:
        """One job to its end, for nobody in particular. Raises its error."""
        self.want([job])
        try:
            if (task := self._tasks.get(job)) is not None:
                await asyncio.shield(task)  # others may want it
        except BaseException:
            self.abandon([job])
            raise
        self.release([job])

    def stop(self) -> None:
        """Cancels every job."""
        for task in self._running:
            task.cancel()

    async def ready(
        self, wanted: Sequence[Job], start: int, stop: int, patience_s: float
    ) -> AsyncGenerator[tuple[int, int], None]:
        """Runs [a, b) of [start, stop), in order and gapless, as soon as they can be read. Raises a job's error when it
        is that job's bytes which are due; DeadlineExceeded when one does not follow the one before within `patience_s`."""
        loop = asyncio.get_running_loop()
        at, until = start, loop.time() + patience_s
        while at < stop:
            missing = self.fill.missing(at, stop)
            edge = min(stop, max(at, missing[0][0])) if missing else stop
            if edge > at:
                yield at, edge
                at, until = edge, loop.time() + patience_s
                continue
            self._raise_if_failed(wanted, at)
            if not await self._progress(until):
                raise DeadlineExceeded(
                    f"chunk {chunk_of(wanted[0])}: no byte of [{at}, {stop}) came within {patience_s:g} s"
                )

    def gone(self) -> Sequence[tuple[int, int]]:
        """Runs of bytes whose parts the origin no longer has, by the newest try."""
        ended = ((job, task) for job, task in self._tasks.items() if task.done() and not task.cancelled())
        return [(job.start, job.stop) for job, task in ended if isinstance(task.exception(), PartGone)]

    @property
    def empty(self) -> bool:
        return not self._members

    def leave(self) -> None:
        """Last out lands the flight."""
        self._members -= 1
        if not self._members:
            self._land(self)

    async def settle(self) -> None:
        """Waits for every job to end; then nothing writes to the fill any more."""
        if self._running:
            await asyncio.wait(self._running)

    def _start(self, job: Job) -> None:
        task = asyncio.ensure_future(self._run(job, self.fill, self._wake))
        self._tasks[job] = task
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # seen; whoever waits for its bytes raises it
        self._wake()

    def _raise_if_failed(self, wanted: Sequence[Job], at: int) -> None:
        for job in wanted:
            task = self._tasks.get(job)
            if job.start <= at < job.stop and task and task.done():
                task.result()  # done, and its bytes are missing: it failed; the next to want it tries again

    async def _progress(self, until: float) -> bool:
        """Whether something came before `until`, in the loop's time. A timer of its own: asyncio.timeout costs five times as
        much, for each object that is fetched."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()
        self._waiting.add(future)
        timer = loop.call_at(until, _late, future)
        try:
            return await future
        finally:
            timer.cancel()
            self._waiting.discard(future)

    def _wake(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(True)
        self._waiting.clear()


def _late(future: asyncio.Future[bool]) -> None:
    if not future.done():
        future.set_result(False)
