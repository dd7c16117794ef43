"""Pure: when bytes may go on at a given rate."""

BURST_S = 0.02
"""What a late timer may catch up with; more than the 1 ms that timers are coarse."""


class Pace:
    """A line of `rate` bytes a second, None for no limit. It serves in the order it is asked."""

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._free_at = 0.0

    def arrival(self, length: int, now: float) -> float:
        """When the last of `length` bytes given at `now` has passed."""
        if self._rate is None:
            return now
        self._free_at = max(self._free_at, now - BURST_S) + length / self._rate
        return self._free_at
