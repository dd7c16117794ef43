import asyncio

import pytest

from forebay_operator.model import CACHE_CLUSTER, Key
from forebay_operator.reconcile.queue import MOST_S, WakeQueue

A, B = Key(CACHE_CLUSTER, "ns", "a"), Key(CACHE_CLUSTER, "ns", "b")


@pytest.fixture
def clock() -> list[float]:
    return [0.0]


@pytest.fixture
def queue(clock: list[float]) -> WakeQueue:
    return WakeQueue(lambda: clock[0], lambda: 0.5)


async def test_wakes_merge_and_the_earliest_stays(queue: WakeQueue, clock: list[float]) -> None:
    queue.wake(A, 5)
    queue.wake(A)
    queue.wake(A, 9)
    assert await queue.next() == A
    queue.done(A)
    pending = asyncio.ensure_future(queue.next())
    await asyncio.sleep(0)
    assert not pending.done()
    queue.wake(B)
    assert await pending == B


async def test_failures_back_off_with_a_cap_and_a_success_forgets_them(queue: WakeQueue) -> None:
    waits = [queue.failed(A) for _ in range(12)]
    assert waits == sorted(waits)
    assert waits[0] < 0.5
    assert waits[-1] <= MOST_S
    queue.succeeded(A)
    assert queue.failed(A) == waits[0]


async def test_what_is_due_first_comes_first(queue: WakeQueue, clock: list[float]) -> None:
    queue.wake(A, 2)
    queue.wake(B, 1)
    clock[0] = 3
    assert [await queue.next(), await queue.next()] == [B, A]


async def test_one_name_is_handed_to_one_worker_at_a_time(queue: WakeQueue) -> None:
    queue.wake(A)
    assert await queue.next() == A
    queue.wake(A)
    pending = asyncio.ensure_future(queue.next())
    await asyncio.sleep(0)
    assert not pending.done()
    queue.done(A)
    assert await pending == A
