"""When to try again, and how long to wait before it. One policy; nobody retries around it. No I/O; clock and random passed in.

Full jitter: a wait is uniform between 0 and an exponentially growing limit, so that many who failed together do not come
back together. A budget keeps retries a fraction of all calls: when an origin is down, retrying makes it no better.
Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

from collections.abc import Callable

from forebay_cache.model.errors import ForebayError, OriginThrottled
from forebay_cache.origin.limits import OriginLimits, RetryPolicy
from forebay_cache.origin.pace import Pace


class RetryBudget:
    """Tokens, shared by all calls: one that succeeds earns a fraction of a token, each retry spends one."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._tokens = policy.budget

    def earn(self) -> None:
        self._tokens = min(self._policy.budget, self._tokens + self._policy.earned)

    def spend(self) -> bool:
        """Whether there was a token to spend."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def wait_s(
    policy: RetryPolicy, failed: int, error: ForebayError, random: Callable[[], float], left_s: float
) -> float | None:
    """Seconds to wait after the `failed`-th failure (from 1); None: give up, at once where the wait would pass the deadline,
    `left_s` from now. `random` is uniform in [0, 1)."""
    if not error.retry or failed >= policy.tries:
        return None
    limit = min(policy.most_s, policy.first_s * 2.0 ** (failed - 1))
    least = policy.throttled_s if isinstance(error, OriginThrottled) else 0.0
    wait = least + random() * limit
    return wait if wait < left_s else None


class Attempts:
    """The tries of one call or body. Progress of a body renews its deadline, never the number of its tries."""

    def __init__(
        self,
        limits: OriginLimits,
        budget: RetryBudget,
        now: Callable[[], float],
        random: Callable[[], float],
        pace: Pace,
    ) -> None:
        self.pace = pace
        self._limits = limits
        self._budget = budget
        self._now = now
        self._random = random
        self._failed = 0
        self._until = now() + limits.total_s

    def left_s(self) -> float:
        """Until the deadline; never below 0."""
        return max(0.0, self._until - self._now())

    def first_byte_s(self) -> float:
        return min(self._limits.first_byte_s, self.left_s())

    def idle_s(self) -> float:
        return min(self._limits.idle_s, self.left_s())

    def succeeded(self) -> None:
        self._budget.earn()

    def progressed(self) -> None:
        self._until = self._now() + self._limits.total_s

    def wait_s(self, error: ForebayError) -> float | None:
        """Counts a failure. Seconds to wait before the next try; None: give up."""
        self._failed += 1
        wait = wait_s(self._limits.retry, self._failed, error, self._random, self.left_s())
        return wait if wait is not None and self._budget.spend() else None
