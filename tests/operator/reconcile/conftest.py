"""A world to reconcile: the dictionary or a real API server, and a member that answers from memory."""

import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.rigs.controlplane import ControlPlane
from tests.rigs.members import ADDRESS, OneMember

from forebay_cache.telemetry import Telemetry
from forebay_operator import names
from forebay_operator.kube import http
from forebay_operator.kube.base import Kube, Listing
from forebay_operator.kube.memory import MemoryKube
from forebay_operator.model import CACHE_CLUSTER, DATASET, Key, Kind, KubeForbidden, Object
from forebay_operator.reconcile.cluster import Reconciler
from forebay_operator.reconcile.news import News
from forebay_operator.reconcile.tally import Tally


@dataclass
class Told:
    """News, by the name of whom it is about."""

    news: list[tuple[str, News]] = field(default_factory=list)

    def tell(self, about: Object, news: Sequence[News]) -> None:
        self.news += [(about["metadata"]["name"], one) for one in news]


WRITES = ("apply", "apply_status", "create", "delete")


@dataclass
class Watched:
    """A Kube that remembers writes, refuses those of `refused` names, and shows objects through `bend`."""

    kube: Kube
    writes: list[str] = field(default_factory=list)
    refused: set[tuple[str, str]] = field(default_factory=set)
    bend: Callable[[Object], Object] = lambda one: one

    def __getattr__(self, name: str) -> Any:
        call = getattr(self.kube, name)
        if name not in WRITES:
            return call

        async def counted(*args: Any, **kwargs: Any) -> Any:
            body = args[0]
            target = body.name if isinstance(body, Key) else body["metadata"]["name"]
            self.writes.append(f"{name} {target}")
            if (name, target) in self.refused:
                raise KubeForbidden(f"{target}: not allowed")
            return await call(*args, **kwargs)

        return counted

    async def list(self, kind: Kind, *args: Any, **kwargs: Any) -> Listing:
        found = await self.kube.list(kind, *args, **kwargs)
        return Listing([self.bend(one) for one in found.items], found.resource_version)


@dataclass
class World:
    kube: Watched
    member: OneMember
    namespace: str
    clock: list[float]
    reconciler: Reconciler
    told: list[tuple[str, News]]

    @property
    def key(self) -> Key:
        return Key(CACHE_CLUSTER, self.namespace, "main")

    @property
    def now_ms(self) -> int:
        return int(self.clock[0] * 1000)

    async def look(self, times: int = 1) -> float | None:
        for _ in range(times):
            wait = await self.reconciler.reconcile(self.key)
        return wait

    async def settle(self) -> None:
        """Looks until a look writes nothing."""
        for _ in range(10):
            self.kube.writes.clear()
            await self.look()
            if not self.kube.writes:
                return
        raise AssertionError(f"it does not settle: {self.kube.writes}")

    async def apply(self, body: dict[str, Any], manager: str = "user") -> None:
        metadata = {"namespace": self.namespace, **body["metadata"]}
        await self.kube.kube.apply({**body, "metadata": metadata}, manager=manager, force=True)

    async def cluster(self, **spec: Any) -> None:
        wanted = {"storage": {"capacity": "1Gi", "emptyDir": {}}, **spec}
        await self.apply(
            {"apiVersion": "forebay.dev/v1alpha1", "kind": "CacheCluster", "metadata": {"name": "main"}, "spec": wanted}
        )

    async def dataset(self, name: str = "photos", **spec: Any) -> str:
        wanted = {"clusterRef": {"name": "main"}, "sources": [{"name": "s", "directory": {"path": "/data"}}], **spec}
        annotations = wanted.pop("annotations", {})
        body = {
            "apiVersion": "forebay.dev/v1alpha1",
            "kind": "Dataset",
            "metadata": {"name": name, "annotations": annotations},
        }
        await self.apply({**body, "spec": wanted})
        return str((await self.get(DATASET, name))["metadata"]["uid"])

    async def pod(self) -> None:
        """What a StatefulSet controller and a kubelet would have done."""
        labels = names.labels("main")
        spec = {"containers": [{"name": "member", "image": "x"}]}
        metadata = {"name": "main-0", "namespace": self.namespace, "labels": labels}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}
        await self.kube.kube.create({**body, "spec": spec})
        status = {
            "phase": "Running",
            "podIP": ADDRESS,
            "podIPs": [{"ip": ADDRESS}],
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        await self.kube.kube.apply_status({**body, "status": status}, manager="kubelet")

    async def get(self, kind: Any, name: str) -> Any:
        return await self.kube.kube.get(Key(kind, self.namespace, name))

    async def reasons(self, kind: Any, name: str) -> dict[str, str]:
        return {one["type"]: one["reason"] for one in (await self.get(kind, name))["status"]["conditions"]}

    async def served(self, commit: str = "c" * 64, **spec: Any) -> str:
        """A cluster with a ready member and a Dataset with a head, settled."""
        await self.cluster(**spec)
        uid = await self.dataset()
        await self.look()
        await self.pod()
        await self.look(2)
        self.member.end(uid, commit, self.now_ms)
        await self.settle()
        return uid

    async def due(self) -> None:
        """The next sync of the interval starts."""
        self.clock[0] += 301
        started = self.member.started
        await self.look()
        assert self.member.started == started + 1


@pytest.fixture(params=["dictionary", pytest.param("server", marks=pytest.mark.kube)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    clock = [1_700_000_000.0]
    kube: Any
    namespace = "default"
    if request.param == "server":
        plane: ControlPlane = request.getfixturevalue("control_plane")
        namespace = plane.namespace()
        kube = await http.connect_file(str(plane.kubeconfig))
    else:
        kube = MemoryKube(now=lambda: clock[0])
    ticks = itertools.count(1)
    watched, member = Watched(kube), OneMember(tick=lambda: next(ticks))
    told = Told()
    tally = Tally(Telemetry(), lambda: clock[0])
    reconciler = Reconciler(watched, member, lambda: clock[0], tally, told.tell)  # type: ignore[arg-type]
    yield World(watched, member, namespace, clock, reconciler, told.news)
    await kube.aclose()
