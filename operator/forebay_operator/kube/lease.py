"""Who acts: a Kubernetes Lease that one operator holds, and the rest wait for.

A holder counts from before it asked for a renewal, another from when it saw one; the holder gives up `renew_s` after, the
other takes over `duration_s` after, so two never hold it at once, whatever their clocks say (they only must run equally
fast). Every write goes onto the version that was decided from.
"""

import asyncio
import datetime as dt
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from forebay_operator.kube.base import Kube
from forebay_operator.model import FIELD_MANAGER, LEASE, Key, KubeConflict, KubeNotFound, Object, OperatorError

log = logging.getLogger("forebay.lease")
RELEASE_S = 3.0


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. Between `renew_s` and `duration_s` lies what a write may take that was under way when its sender gave up."""

    duration_s: int = 15
    renew_s: float = 10.0
    retry_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Clock:
    """`now` is monotonic and counts what the machine slept; `wall` is for people who read the Lease."""

    now: Callable[[], float]
    wall: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


@dataclass(frozen=True, slots=True)
class Seen:
    """A Lease, and when it was first seen so."""

    lease: Object
    at: float


class Candidate:
    """`identity` must be nobody else's, also not this program's before a restart. One event loop, no threads."""

    def __init__(self, kube: Kube, key: Key, identity: str, clock: Clock, timing: Timing = Timing()) -> None:
        self.key, self.identity = key, identity
        self.tried = clock.now()
        """When it last finished an attempt, whatever came of it."""
        self.answered = float("-inf")
        """When the API server last answered one."""
        self._kube, self._clock, self._timing = kube, clock, timing
        self._until = float("-inf")
        self._seen: Seen | None = None

    @property
    def holds(self) -> bool:
        """Whether this operator may act at this very moment."""
        return self._clock.now() < self._until

    @property
    def holder(self) -> str:
        """Who held it when it was last looked at; empty: nobody."""
        return str(self._seen.lease["spec"].get("holderIdentity") or "") if self._seen else ""

    async def acquire(self) -> None:
        """Returns once it is held."""
        while not self.holds:
            await self._attempt()
            if not self.holds:
                await self._clock.sleep(self._timing.retry_s)

    async def keep(self) -> None:
        """Renews; returns when it is lost, on time even if the API server does not answer."""
        renewing = asyncio.create_task(self._renew())
        try:
            while self.holds:
                await self._clock.sleep(min(self._timing.retry_s / 2, max(0.0, self._until - self._clock.now())))
        finally:
            renewing.cancel()
            await asyncio.wait({renewing})

    async def release(self) -> None:
        """Lets another take it at once. Call it when nothing acts any more."""
        held, self._until = self.holds, float("-inf")
        if held and self._seen:
            with suppress(OperatorError, TimeoutError):
                async with asyncio.timeout(RELEASE_S):
                    await self._write(self._seen.lease, "")

    async def _renew(self) -> None:
        while True:
            await self._clock.sleep(self._timing.retry_s)
            await self._attempt()

    async def _attempt(self) -> None:
        """Takes or renews it if that is ours to do."""
        asked = self._clock.now()
        try:
            async with asyncio.timeout(self._timing.renew_s):
                taken = await self._take()
        except (OperatorError, TimeoutError) as exc:
            reason = str(exc) or f"no answer within {self._timing.renew_s:g} s"
            log.warning("lease not asked for", extra={"lease": str(self.key), "reason": reason})
        else:
            self.answered = asked
            self._until = asked + self._timing.renew_s if taken else float("-inf")
        self.tried = self._clock.now()

    async def _take(self) -> bool:
        if self.holds and self._seen:
            with suppress(KubeConflict):  # the answer to a renewal may have been lost
                return await self._write(self._seen.lease, self.identity)
        lease = await self._look()
        if not self._free():
            return False
        return await self._write(lease, self.identity) if lease else await self._create()

    async def _look(self) -> Object | None:
        """A change of whatever kind counts as a renewal."""
        try:
            lease = await self._kube.get(self.key, live=True)
        except KubeNotFound:
            return None
        if self._seen is None or version(self._seen.lease) != version(lease):
            self._seen = Seen(lease, self._clock.now())
        return lease

    def _free(self) -> bool:
        """Also a Lease that somebody deleted may have a holder who acts."""
        if self._seen is None or self.holder in ("", self.identity):
            return True
        duration_s = self._seen.lease["spec"].get("leaseDurationSeconds") or self._timing.duration_s
        return self._clock.now() - self._seen.at > duration_s

    async def _create(self) -> bool:
        made = await self._kube.create(self._body(None, self.identity))
        self._seen = Seen(made, self._clock.now())
        return True

    async def _write(self, onto: Object, holder: str) -> bool:
        written = await self._kube.apply(self._body(onto, holder), manager=FIELD_MANAGER, force=True)
        self._seen = Seen(written, self._clock.now())
        return True

    def _body(self, onto: Object | None, holder: str) -> Object:
        now = micro_time(self._clock.wall())
        metadata = {"name": self.key.name, "namespace": self.key.namespace}
        spec = {"holderIdentity": holder, "leaseDurationSeconds": self._timing.duration_s, "renewTime": now}
        if onto is None:
            spec |= {"acquireTime": now, "leaseTransitions": 0}
        else:
            metadata["resourceVersion"] = version(onto)
            spec |= since(onto["spec"], holder, now)
        return {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": metadata, "spec": spec}


def since(before: Mapping[str, Any], holder: str, now: str) -> Mapping[str, Any]:
    """When the holder came, and how many came before it."""
    count = int(before.get("leaseTransitions") or 0)
    if holder in ("", before.get("holderIdentity")):
        return {"acquireTime": before.get("acquireTime") or now, "leaseTransitions": count}
    return {"acquireTime": now, "leaseTransitions": count + 1}


def version(lease: Object) -> str:
    return str(lease["metadata"]["resourceVersion"])


def micro_time(seconds: float) -> str:
    """As Kubernetes' MicroTime."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
