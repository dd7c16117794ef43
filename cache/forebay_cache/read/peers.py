"""What other members give of a job: its chunk's owner all of it, a previous owner what its store has."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

from forebay_cache.model.errors import DeadlineExceeded, ForebayError, MemberBadFrame, MemberUnreachable
from forebay_cache.model.failfast import FailFast
from forebay_cache.model.ids import ChunkId, MemberId
from forebay_cache.model.ranges import Span
from forebay_cache.placement.lookup import Placement
from forebay_cache.read.jobs import Job, chunk_of
from forebay_cache.read.routes import Again, Here, There, after, route
from forebay_cache.transfer.base import Ask, Came, Other, Transfer

OWNER_DEADLINE_S = 30.0
"""For one ask of an owner, which may have to fetch from a slow origin; one that is silent is given up much sooner."""
PREVIOUS_DEADLINE_S = 5.0
Write = Callable[[int, memoryview], Awaitable[None]]
"""Keeps bytes at an offset of the chunk."""
Sleep = Callable[[float], Awaitable[None]]


@dataclass(slots=True)
class PeerCounters:
    """Since the start. `failed`: asks that ended without an answer; `passed_by`: those not made, to a member that failed."""

    asks: int = 0
    bytes: int = 0
    failed: int = 0
    passed_by: int = 0


class Peers:
    """Bound to one event loop. `placement` is looked at for each job, so a new one counts at once."""

    def __init__(
        self,
        me: MemberId,
        placement: Callable[[], Placement | None],
        transfer: Transfer,
        now: Callable[[], float],
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._me = me
        self._placement = placement
        self._transfer = transfer
        self._now = now
        self._sleep = sleep
        self._failing: dict[MemberId, FailFast] = {}
        self.counters = PeerCounters()

    @property
    def epoch(self) -> int:
        """0: no membership is known."""
        placement = self._placement()
        return placement.epoch if placement else 0

    def owns(self, chunk: ChunkId) -> bool:
        """Whether this member is the one to fill and keep it."""
        return isinstance(route(self._placement(), self._me, chunk), Here)

    async def bring(self, job: Job, write: Write) -> None:
        """Writes what others give, from the job's start on; the rest is for the origin. Raises PartGone, OriginThrottled as
        the owner told it, and what `write` does."""
        found = route(self._placement(), self._me, chunk_of(job))
        if isinstance(found, There):
            await self._from_owner(found.owner, job, write)
        elif found.previous is not None:
            await self._ask(found.previous, job.start, job, write, store_only=True)

    async def _from_owner(self, owner: MemberId, job: Job, write: Write) -> None:
        at, tries = job.start, 0
        while at < job.stop:
            tries += 1
            at, other = await self._ask(owner, at, job, write, store_only=False)
            if other is None:
                return
            match after(other, tries):
                case Again(pause_s):
                    await self._sleep(pause_s)
                case ForebayError() as error:
                    raise error
                case _:
                    return

    async def _ask(
        self, member: MemberId, at: int, job: Job, write: Write, *, store_only: bool
    ) -> tuple[int, Other | None]:
        """One ask for [at, job.stop) -> where its bytes end, and what came in place of the rest (None: nothing, or nobody
        answers)."""
        failing = self._failing.setdefault(member, FailFast(self._now))
        if not failing.admit():
            self.counters.passed_by += 1
            return at, None
        self.counters.asks += 1
        deadline_s = PREVIOUS_DEADLINE_S if store_only else OWNER_DEADLINE_S
        ask = Ask((Span(chunk_of(job), at, job.stop),), self.epoch, store_only, deadline_s)
        other: Other | None = None
        try:
            async with aclosing(self._transfer.read(member, ask)) as answers:
                async for answer in answers:
                    failing.answered()
                    if isinstance(answer, Came):
                        self.counters.bytes += len(answer.data)  # before a reader who has the last of them looks
                        await write(answer.start, answer.data)
                        at += len(answer.data)
                    else:
                        other = answer
        except (MemberUnreachable, DeadlineExceeded):
            failing.expired()
            self.counters.failed += 1
        except MemberBadFrame:
            failing.answered()  # it is there; these bytes are not right
            self.counters.failed += 1
        except BaseException:
            failing.gave_up()
            raise
        return at, other
