"""The operator's loop: changes wake clusters, one look at a time each, failures back off, nothing blocks the others."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from forebay_operator.kube.base import Event, Kube
from forebay_operator.kube.cache import CachedKube
from forebay_operator.members.base import Members
from forebay_operator.model import (
    CACHE_CLUSTER,
    DATASET,
    Key,
    Kind,
    Object,
    OperatorError,
    key_of,
)
from forebay_operator.names import CLUSTER_LABEL
from forebay_operator.observe import FOLLOWED
from forebay_operator.reconcile.announcer import Announcer
from forebay_operator.reconcile.cluster import Reconciler
from forebay_operator.reconcile.queue import WakeQueue
from forebay_operator.reconcile.tally import Tally

PRIMARIES = (CACHE_CLUSTER, DATASET)
WORKERS = 4
"""Clusters looked at at once: one that waits for its members delays no other."""
LOOK_DEADLINE_S = 60.0
SILENT_MOST_S = 300.0
log = logging.getLogger("forebay.reconcile")


@dataclass(frozen=True, slots=True)
class Known:
    """A primary as far as a change of it matters, and the cluster to look at then."""

    cluster: Key
    matters: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Clocks:
    """`monotonic` for waits, `now` for wall time; `random` is uniform in [0, 1)."""

    now: Callable[[], float]
    monotonic: Callable[[], float]
    random: Callable[[], float]


class Operator:
    def __init__(self, kube: Kube, members: Members, clocks: Clocks, tally: Tally) -> None:
        self._kube = CachedKube(kube, FOLLOWED, clocks.monotonic, tally.wrote)
        self._kube.listen(self._seen)
        self._announcer = Announcer(self._kube, clocks.now, clocks.monotonic)
        self._reconciler = Reconciler(self._kube, members, clocks.now, tally, self._announcer.tell)
        self._queue = WakeQueue(clocks.monotonic, clocks.random)
        self._tally = tally
        self._known: dict[Key, Known] = {}

    async def run(self) -> None:
        """Until cancelled."""
        with self._tally.running(self):
            await self._run()

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._kube.run())
            group.create_task(self._announcer.run())
            for _ in range(WORKERS):
                group.create_task(self._work())

    def wake(self, key: Key) -> None:
        self._queue.wake(key)

    @property
    def silent_s(self) -> float:
        """Seconds without a sign of life, of the watch or of the looks that lacks one longest. Healthy is less than
        SILENT_MOST_S: what is over it will not come back by itself."""
        return max(self._kube.silent_s, self._queue.overdue_s)

    @property
    def silence(self) -> Mapping[Kind, float]:
        return self._kube.silence

    @property
    def queued(self) -> int:
        return self._queue.queued

    @property
    def overdue_s(self) -> float:
        return self._queue.overdue_s

    def why_not_alive(self) -> str:
        """Empty while it gets on."""
        silent_s = self.silent_s
        return f"nothing was heard or done for {silent_s:.0f} s" if silent_s > SILENT_MOST_S else ""

    def why_not_ready(self) -> str:
        """Empty once it knows the world."""
        unlisted = [kind.plural for kind in self._kube.unlisted]
        return f"not listed yet: {', '.join(unlisted)}" if unlisted else ""

    async def _work(self) -> None:
        while True:
            key = await self._queue.next()
            try:
                await self._look(key)
            finally:
                self._queue.done(key)

    async def _look(self, key: Key) -> None:
        try:
            with self._tally.look(key.kind):
                async with asyncio.timeout(LOOK_DEADLINE_S):
                    wait = await self._reconciler.reconcile(key)
        except (OperatorError, TimeoutError) as exc:
            again_s = round(self._queue.failed(key), 1)
            reason = str(exc) or f"not done within {LOOK_DEADLINE_S:g} s"
            log.warning("look failed", extra={"cluster": str(key), "reason": reason, "again_s": again_s})
        except Exception:
            log.exception("look failed by a bug of ours", extra={"cluster": str(key)})
            self._queue.failed(key)
        else:
            self._queue.succeeded(key)
            if wait is not None:
                self._queue.wake(key, wait)

    def _seen(self, event: Event) -> None:
        one, gone = event.object, event.type == "DELETED"
        key = key_of(one)
        if key.kind in PRIMARIES:
            self._primary(key, one, gone=gone)
        elif cluster := (one["metadata"].get("labels") or {}).get(CLUSTER_LABEL):
            self.wake(Key(CACHE_CLUSTER, key.namespace, cluster))

    def _primary(self, key: Key, one: Object, *, gone: bool) -> None:
        """A change that is only status does not wake: most such changes are our own."""
        before = self._known.pop(key, None)
        now = _known(key, one)
        if not gone:
            self._known[key] = now
        if gone or before != now:
            self.wake(now.cluster)


def _known(key: Key, one: Object) -> Known:
    metadata, reference = one["metadata"], one.get("spec", {}).get("clusterRef", {})
    name = key.name if key.kind == CACHE_CLUSTER else str(reference.get("name", ""))
    matters = [metadata.get(field) for field in ("uid", "generation", "annotations", "deletionTimestamp")]
    return Known(Key(CACHE_CLUSTER, key.namespace, name), tuple(matters))
