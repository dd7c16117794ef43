"""How long a client may take, as a small state of its own. Pure: the time is given."""

from typing import Literal

from forebay_cache.serve.base import Limits

Verdict = Literal["fine", "slow", "head", "idle"]


class Pace:
    """Judges one connection each time it is asked, about once a second; between calls the hot path does nothing for it."""

    __slots__ = ("_head_since", "_limits", "_moved", "_quiet_since", "_window_moved", "_window_since")

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._quiet_since = now
        self._moved = 0
        self._head_since: float | None = None
        self._window_since: float | None = None
        self._window_moved = 0

    def check(self, now: float, *, busy: bool, in_head: bool, waiting: bool, moved: int) -> Verdict:
        """`moved`: bytes given to the client so far; `waiting`: it has to take some before more can go; `in_head`: part of
        a request is here."""
        if busy or moved != self._moved:
            self._quiet_since, self._moved = now, moved
        slow = self._too_slow(now, moved) if waiting else self._not_waiting()
        if slow:
            return "slow"
        if busy or not in_head:
            self._head_since = None
        elif self._head_since is None:
            self._head_since = now
        elif now - self._head_since > self._limits.header_s:
            return "head"
        return "idle" if now - self._quiet_since > self._limits.idle_s else "fine"

    def _not_waiting(self) -> bool:
        self._window_since = None
        return False

    def _too_slow(self, now: float, moved: int) -> bool:
        if self._window_since is None:
            self._window_since, self._window_moved = now, moved
            return False
        passed = now - self._window_since
        if passed < self._limits.slow_s:
            return False
        slow = moved - self._window_moved < passed * self._limits.slowest_bytes_s
        self._window_since, self._window_moved = now, moved
        return slow
