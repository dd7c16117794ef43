"""When a call is tried again, and when it is given up."""

import pytest

from forebay_cache.model.errors import OriginBadAnswer, OriginDenied, OriginMissing, OriginThrottled, OriginUnavailable
from forebay_cache.origin.limits import OriginLimits, RetryPolicy
from forebay_cache.origin.pace import Pace
from forebay_cache.origin.retry import Attempts, RetryBudget, wait_s

POLICY = RetryPolicy(tries=5, first_s=0.1, most_s=0.5, throttled_s=1.0)
DOWN = OriginUnavailable("down")


@pytest.mark.parametrize(("failed", "limit"), [(1, 0.1), (2, 0.2), (3, 0.4), (4, 0.5)])
def test_waits_are_uniform_up_to_a_growing_limit(failed: int, limit: float) -> None:
    assert wait_s(POLICY, failed, DOWN, lambda: 0.0, 60) == 0.0
    assert wait_s(POLICY, failed, DOWN, lambda: 0.5, 60) == pytest.approx(limit / 2)


def test_a_throttled_call_waits_longer() -> None:
    assert wait_s(POLICY, 1, OriginThrottled("slow down"), lambda: 0.0, 60) == 1.0


def test_the_last_try_is_the_last() -> None:
    assert wait_s(POLICY, 5, DOWN, lambda: 0.0, 60) is None


def test_what_a_retry_cannot_help_is_not_retried() -> None:
    for error in (OriginMissing("m"), OriginDenied("d")):
        assert wait_s(POLICY, 1, error, lambda: 0.0, 60) is None


def test_a_wait_past_the_deadline_gives_up_at_once() -> None:
    assert wait_s(POLICY, 1, DOWN, lambda: 0.5, 0.04) is None


class Clock:
    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def attempts(clock: Clock, policy: RetryPolicy = POLICY) -> Attempts:
    limits = OriginLimits(first_byte_s=4, idle_s=3, total_s=10, retry=policy)
    return Attempts(limits, RetryBudget(policy), clock, lambda: 0.0, Pace(limits.pace, clock))


def test_each_try_has_its_deadline_within_that_of_the_call() -> None:
    clock = Clock()
    tries = attempts(clock)
    assert (tries.first_byte_s(), tries.idle_s(), tries.left_s()) == (4, 3, 10)
    clock.at += 8
    assert (tries.first_byte_s(), tries.idle_s(), tries.left_s()) == (2, 2, 2)
    clock.at += 80
    assert (tries.first_byte_s(), tries.left_s()) == (0, 0)


def test_progress_renews_the_deadline_and_not_the_tries() -> None:
    clock = Clock()
    tries = attempts(clock)
    assert [tries.wait_s(OriginBadAnswer("cut")) for _ in range(3)] == [0.0] * 3
    clock.at += 9
    tries.progressed()
    assert tries.left_s() == 10
    assert tries.wait_s(DOWN) == 0.0
    assert tries.wait_s(DOWN) is None


def test_an_empty_budget_ends_all_retries_until_calls_succeed() -> None:
    policy = RetryPolicy(tries=100, budget=2, earned=0.5)
    budget = RetryBudget(policy)
    limits, clock = OriginLimits(retry=policy), Clock()
    tries = [Attempts(limits, budget, clock, lambda: 0.0, Pace(limits.pace, clock)) for _ in range(4)]
    assert [one.wait_s(DOWN) for one in tries] == [0.0, 0.0, None, None]
    tries[0].succeeded()
    assert tries[1].wait_s(DOWN) is None
    tries[0].succeeded()
    assert tries[1].wait_s(DOWN) == 0.0


def test_successes_do_not_fill_a_budget_beyond_its_brim() -> None:
    budget = RetryBudget(RetryPolicy(budget=1, earned=1.0))
    for _ in range(10):
        budget.earn()
    assert [budget.spend(), budget.spend()] == [True, False]
