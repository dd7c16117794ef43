"""Pure: when to try again, and how long to wait before it. One policy; nobody retries around it.

Full jitter: a wait is uniform between 0 and an exponentially growing limit, so that many who failed together do not come
back together. A budget keeps retries a fraction of all calls: when an origin is down, retrying makes it no better.
Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

from collections.abc import Callable
from dataclasses import dataclass

from forebay_cache.model.errors import ForebayError, OriginThrottled


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`tries` includes the first one. A throttled call waits at least `throttled_s` before jitter."""

    tries: int = 5
    first_s: float = 0.1
    most_s: float = 5.0
    throttled_s: float = 0.5


class RetryBudget:
    """Tokens: each call that succeeds earns a fraction of one, each retry spends one."""

    def __init__(self, most: float = 100.0, earned: float = 0.1) -> None:
        self._most = most
        self._earned = earned
        self._tokens = most

    def earn(self) -> None:
        self._tokens = min(self._most, self._tokens + self._earned)

    def spend(self) -> bool:
        """Whether there was a token to spend."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def wait_s(policy: RetryPolicy, failed: int, error: ForebayError, random: Callable[[], float]) -> float | None:
    """Seconds to wait after the `failed`-th failure (from 1); None: give up. `random` is uniform in [0, 1)."""
    if not error.retry or failed >= policy.tries:
        return None
    limit = min(policy.most_s, policy.first_s * 2.0 ** (failed - 1))
    least = policy.throttled_s if isinstance(error, OriginThrottled) else 0.0
    return least + random() * limit
