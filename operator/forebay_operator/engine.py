"""The operator as a process of a cluster: it stands for election, works while it is elected, and says how it is."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from forebay_operator.kube.lease import Candidate
from forebay_operator.model import Key

STUCK_S = 60.0
"""An attempt at the lease ends long before."""
UNANSWERED_S = 30.0
Namespace = str | None
"""None: all."""
log = logging.getLogger("forebay.engine")


class Work(Protocol):
    """What is done for a namespace; `reconcile.loop.Operator` is one."""

    async def run(self) -> None:
        """Until cancelled."""
        ...

    def wake(self, key: Key) -> None: ...

    def why_not_alive(self) -> str: ...

    def why_not_ready(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Parts:
    begin: Callable[[], Mapping[Namespace, Work]]
    """Work of a new term: what an earlier one remembered may be wrong by now."""
    hear: Callable[[Callable[[Key], None]], Coroutine[Any, Any, None]]
    """Calls back with who should be looked at, until cancelled."""
    now: Callable[[], float]
    """The candidate's clock."""


class Engine:
    def __init__(self, candidate: Candidate, parts: Parts) -> None:
        self._candidate, self._parts = candidate, parts
        self._works: Mapping[Namespace, Work] = {}

    @property
    def elected(self) -> bool:
        """Not for one that slept through its lease and has not noticed yet."""
        return bool(self._works) and self._candidate.holds

    async def run(self) -> None:
        """Until cancelled; then another may go on at once."""
        try:
            while True:
                await self._candidate.acquire()
                log.info("elected", extra={"identity": self._candidate.identity})
                await self._term()
                log.warning("lease lost", extra={"holder": self._candidate.holder})
        finally:
            await self._candidate.release()

    def wake(self, key: Key) -> None:
        for namespace in (None, key.namespace):
            if namespace in self._works:
                self._works[namespace].wake(key)

    def why_not_alive(self) -> str:
        if self._parts.now() - self._candidate.tried > STUCK_S:
            return f"the lease was not asked for in {STUCK_S:g} s"
        return "; ".join(filter(None, (work.why_not_alive() for work in self._works.values())))

    def why_not_ready(self) -> str:
        """One that waits for its turn is ready."""
        silent_s = self._parts.now() - self._candidate.answered
        if silent_s >= UNANSWERED_S:
            return "the API server does not answer"
        return "; ".join(filter(None, (work.why_not_ready() for work in self._works.values())))

    async def _term(self) -> None:
        """Works until the lease is lost; nothing of it goes on after."""
        self._works = self._parts.begin()
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(work.run()) for work in self._works.values()]
                tasks.append(group.create_task(self._parts.hear(self.wake)))
                await self._candidate.keep()
                for task in tasks:
                    task.cancel()
        finally:
            self._works = {}
