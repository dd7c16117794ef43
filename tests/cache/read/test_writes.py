import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from forebay_cache.model.errors import StoreFull
from forebay_cache.read.writes import SLOW_S, SMALL, WARY_S, Writer


class Clock:
    """Advances by `step` at each look."""

    def __init__(self) -> None:
        self.now = 0.0
        self.step = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


class Fill:
    """Remembers which thread wrote; waits for `go`."""

    def __init__(self) -> None:
        self.threads: list[int] = []
        self.go = threading.Event()
        self.go.set()
        self.error: Exception | None = None

    def write(self, offset: int, data: bytes | bytearray) -> None:
        assert self.go.wait(20)
        self.threads.append(threading.get_ident())
        if self.error:
            raise self.error


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as found:
        yield found


async def test_small_writes_are_made_at_once_and_large_ones_by_a_thread(pool: ThreadPoolExecutor) -> None:
    writer, fill = Writer(pool, Clock()), Fill()
    await writer.write(fill, 0, bytes(SMALL))  # type: ignore[arg-type]
    await writer.write(fill, 0, bytes(SMALL + 4096))  # type: ignore[arg-type]
    assert [ident == threading.get_ident() for ident in fill.threads] == [True, False]


@pytest.mark.parametrize("fails", [False, True])
async def test_a_disk_that_makes_one_wait_gets_threads_for_a_while(pool: ThreadPoolExecutor, fails: bool) -> None:
    clock = Clock()
    writer, fill = Writer(pool, clock), Fill()
    clock.step = SLOW_S * 1.1
    if fails:
        fill.error = StoreFull("full")
        with pytest.raises(StoreFull):
            await writer.write(fill, 0, b"x")  # type: ignore[arg-type]
        fill.error = None
    else:
        await writer.write(fill, 0, b"x")  # type: ignore[arg-type]
    clock.step = 0.0
    await writer.write(fill, 0, b"x")  # type: ignore[arg-type]
    clock.now += WARY_S
    await writer.write(fill, 0, b"x")  # type: ignore[arg-type]
    assert [ident == threading.get_ident() for ident in fill.threads] == [True, False, True]


async def test_cancelled_it_still_ends_with_the_write(pool: ThreadPoolExecutor) -> None:
    writer, fill = Writer(pool, Clock()), Fill()
    fill.go.clear()
    task = asyncio.ensure_future(writer.write(fill, 0, bytes(SMALL + 4096)))  # type: ignore[arg-type]
    while not pool._work_queue.empty() or not pool._threads:
        await asyncio.sleep(0)
    task.cancel()
    for _ in range(10):
        await asyncio.sleep(0)
    assert not task.done()
    fill.go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(fill.threads) == 1
