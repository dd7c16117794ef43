"""The operator's loop: watches wake clusters, one look at a time each, failures back off, nothing blocks the others."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

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
from forebay_operator.reconcile.cluster import RESYNC_S, Reconciler
from forebay_operator.reconcile.queue import WakeQueue

WATCHED: Sequence[Kind] = (CACHE_CLUSTER, DATASET, STATEFUL_SET, CONFIG_MAP, SECRET, SERVICE, POD)
LOOK_DEADLINE_S = 60.0
REWATCH_S = 1.0
log = logging.getLogger("forebay.reconcile")


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
        self._known: dict[Key, Any] = {}  # primaries, as far as a change of them matters

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for kind in WATCHED:
                group.create_task(self._feed(kind))
            group.create_task(self._work())

    def wake(self, key: Key) -> None:
        self._queue.wake(key)

    async def _work(self) -> None:
        while True:
            key = await self._queue.next()
            try:
                async with asyncio.timeout(LOOK_DEADLINE_S):
                    wait = await self._reconciler.reconcile(key)
            except (OperatorError, TimeoutError) as exc:
                wait = self._queue.failed(key)
                log.warning("look failed", extra={"cluster": str(key), "reason": str(exc), "again_s": round(wait, 1)})
            except Exception:
                log.exception("look failed by a bug of ours", extra={"cluster": str(key)})
                self._queue.failed(key)
            else:
                self._queue.succeeded(key)
                if key in self._known:
                    self._queue.wake(key, RESYNC_S if wait is None else wait)

    async def _feed(self, kind: Kind) -> None:
        """Lists, then follows; an expired or broken watch begins anew."""
        while True:
            try:
                listing = await self._kube.list(kind)
                for one in listing.items:
                    self._seen(kind, one, gone=False)
                async for event in self._kube.watch(kind, listing.resource_version):
                    self._seen(kind, event.object, gone=event.type == "DELETED")
            except KubeExpired:
                continue
            except OperatorError as exc:
                log.warning("watch failed", extra={"kind": kind.kind, "reason": str(exc)})
            await asyncio.sleep(REWATCH_S)

    def _seen(self, kind: Kind, one: Object, *, gone: bool) -> None:
        metadata = one["metadata"]
        namespace = metadata.get("namespace", "")
        if kind in (CACHE_CLUSTER, DATASET):
            self._primary(Key(kind, namespace, metadata["name"]), one, gone=gone)
            return
        cluster = metadata.get("labels", {}).get(CLUSTER_LABEL)
        if cluster:
            self.wake(Key(CACHE_CLUSTER, namespace, cluster))
        elif kind == SECRET:  # it may hold an origin's keys
            for key in self._known:
                if key.kind == CACHE_CLUSTER and key.namespace == namespace:
                    self.wake(key)

    def _primary(self, key: Key, one: Object, *, gone: bool) -> None:
        """A change that is only status does not wake: most such changes are our own."""
        metadata = one["metadata"]
        matters = (
            metadata["uid"],
            metadata.get("generation"),
            metadata.get("annotations"),
            metadata.get("deletionTimestamp"),
        )
        if not gone and self._known.get(key) == matters:
            return
        if gone:
            self._known.pop(key, None)
        else:
            self._known[key] = matters
        name = key.name if key.kind == CACHE_CLUSTER else one["spec"]["clusterRef"]["name"]
        self.wake(Key(CACHE_CLUSTER, key.namespace, name))
