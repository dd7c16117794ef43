"""The operator's loop: watches wake clusters, one look at a time each, failures back off, nothing blocks the others."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from forebay_operator.kube.base import Kube
from forebay_operator.members.base import Members
from forebay_operator.model import (
    CACHE_CLUSTER,
    CONFIG_MAP,
    DATASET,
    POD,
    SECRET,
    SERVICE,
    STATEFUL_SET,
    Key,
    Kind,
    KubeExpired,
    Object,
    OperatorError,
)
from forebay_operator.names import CLUSTER_LABEL
from forebay_operator.reconcile.cluster import Reconciler
from forebay_operator.reconcile.queue import WakeQueue

PRIMARIES = (CACHE_CLUSTER, DATASET)
WATCHED: Sequence[Kind] = (*PRIMARIES, STATEFUL_SET, CONFIG_MAP, SECRET, SERVICE, POD)
WORKERS = 4
"""Clusters looked at at once: one that waits for its members delays no other."""
LOOK_DEADLINE_S = 60.0
REWATCH_S = 1.0
log = logging.getLogger("forebay.reconcile")


@dataclass(frozen=True, slots=True)
class Known:
    """A primary as far as a change of it matters, and the cluster to look at then."""

    cluster: Key
    matters: tuple[object, ...]


class Operator:
    """`monotonic` for waits, `now` for wall time; `random` is uniform in [0, 1)."""

    def __init__(
        self,
        kube: Kube,
        members: Members,
        now: Callable[[], float],
        monotonic: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        self._kube = kube
        self._reconciler = Reconciler(kube, members, now)
        self._queue = WakeQueue(monotonic, random)
        self._known: dict[Key, Known] = {}

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for kind in WATCHED:
                group.create_task(self._feed(kind))
            for _ in range(WORKERS):
                group.create_task(self._work())

    def wake(self, key: Key) -> None:
        self._queue.wake(key)

    async def _work(self) -> None:
        while True:
            key = await self._queue.next()
            try:
                await self._look(key)
            finally:
                self._queue.done(key)

    async def _look(self, key: Key) -> None:
        try:
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

    async def _feed(self, kind: Kind) -> None:
        """Lists, then follows; an expired or broken watch begins anew."""
        while True:
            try:
                listing = await self._kube.list(kind)
                self._listed(kind, listing.items)
                async for event in self._kube.watch(kind, listing.resource_version):
                    self._seen(kind, event.object, gone=event.type == "DELETED")
            except KubeExpired:
                continue
            except OperatorError as exc:
                log.warning("watch failed", extra={"kind": kind.kind, "reason": str(exc)})
            await asyncio.sleep(REWATCH_S)

    def _listed(self, kind: Kind, items: Sequence[Object]) -> None:
        """What went while nobody watched is missing here."""
        there = {_key(kind, one) for one in items}
        for key in [key for key in self._known if key.kind == kind and key not in there]:
            self.wake(self._known.pop(key).cluster)
        for one in items:
            self._seen(kind, one, gone=False)

    def _seen(self, kind: Kind, one: Object, *, gone: bool) -> None:
        key = _key(kind, one)
        if kind in PRIMARIES:
            self._primary(key, one, gone=gone)
            return
        cluster = (one["metadata"].get("labels") or {}).get(CLUSTER_LABEL)
        if cluster:
            self.wake(Key(CACHE_CLUSTER, key.namespace, cluster))
        elif kind == SECRET:  # it may hold an origin's keys
            for known in {known.cluster for known in self._known.values()}:
                if known.namespace == key.namespace:
                    self.wake(known)

    def _primary(self, key: Key, one: Object, *, gone: bool) -> None:
        """A change that is only status does not wake: most such changes are our own."""
        before = self._known.pop(key, None)
        now = _known(key, one)
        if not gone:
            self._known[key] = now
        if gone or before != now:
            self.wake(now.cluster)


def _key(kind: Kind, one: Object) -> Key:
    return Key(kind, one["metadata"].get("namespace", ""), one["metadata"]["name"])


def _known(key: Key, one: Object) -> Known:
    metadata, reference = one["metadata"], one.get("spec", {}).get("clusterRef", {})
    name = key.name if key.kind == CACHE_CLUSTER else str(reference.get("name", ""))
    matters = [metadata.get(field) for field in ("uid", "generation", "annotations", "deletionTimestamp")]
    return Known(Key(CACHE_CLUSTER, key.namespace, name), tuple(matters))
