"""Stops asking what does not answer: after one expiry everything else fails at once, until a probe succeeds.

A hung answer holds its asker for the whole deadline; without this, each further one would as well. The probe is a request
somebody really has; at most one is under way.
"""

from collections.abc import Callable

PROBE_S = 1.0


class FailFast:
    """Bound to one answerer. The caller reports how each admitted request ended."""

    __slots__ = ("_next", "_now", "_probing", "failing")

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._next = 0.0
        self._probing = False
        self.failing = False

    def admit(self) -> bool:
        """Whether to ask at all; while failing, True makes the caller's request the probe."""
        if not self.failing:
            return True
        if self._probing or self._now() < self._next:
            return False
        self._probing = True
        return True

    def answered(self) -> None:
        self.failing = self._probing = False

    def gave_up(self) -> None:
        """The asker left; nothing is known of the answerer."""
        self._probing = False

    def expired(self) -> None:
        self.failing, self._probing = True, False
        self._next = self._now() + PROBE_S
