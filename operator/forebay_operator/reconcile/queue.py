"""Wakes, merged by name: who should be looked at, and when. Not thread-safe; one loop owns it."""

import asyncio
from collections.abc import Callable

from forebay_operator.model import Key

FIRST_S, MOST_S = 0.5, 60.0


class WakeQueue:
    """A name is handed out to one worker at a time: between `next` and `done` its wakes wait.

    `now` is monotonic; `random` is uniform in [0, 1).
    """

    def __init__(self, now: Callable[[], float], random: Callable[[], float]) -> None:
        self._now = now
        self._random = random
        self._due: dict[Key, float] = {}
        self._busy: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._changed = asyncio.Event()

    def wake(self, key: Key, in_s: float = 0.0) -> None:
        """An earlier wake of the same name stays."""
        due = self._now() + in_s
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            self._changed.set()

    def failed(self, key: Key) -> float:
        """Wakes again after a growing, jittered wait -> seconds."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        wait = min(MOST_S, FIRST_S * 2.0 ** min(failures - 1, 32)) * (0.5 + self._random() / 2)
        self.wake(key, wait)
        return wait

    def succeeded(self, key: Key) -> None:
        self._failures.pop(key, None)

    @property
    def queued(self) -> int:
        """Names that are due and that nobody took."""
        return sum(due <= self._now() for key, due in self._due.items() if key not in self._busy)

    @property
    def overdue_s(self) -> float:
        """How long the name has been due that was due first and that nobody took."""
        waiting = [due for key, due in self._due.items() if key not in self._busy]
        return max(0.0, self._now() - min(waiting, default=self._now()))

    async def next(self) -> Key:
        """A name that is due and that nobody works on; waits for one. Call `done` with it."""
        while True:
            self._changed.clear()
            free = [key for key in self._due if key not in self._busy]
            key = min(free, key=self._due.__getitem__, default=None)
            wait = self._due[key] - self._now() if key is not None else None
            if key is not None and wait is not None and wait <= 0:
                del self._due[key]
                self._busy.add(key)
                return key
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def done(self, key: Key) -> None:
        self._busy.discard(key)
        self._changed.set()
