"""The loop over the dictionary: who is looked at, and that nobody waits for another."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from tests.operator.reconcile.conftest import WRITES, World
from tests.rigs import objects
from tests.rigs.members import OneMember

from forebay_cache.telemetry import Telemetry
from forebay_operator import names
from forebay_operator.kube.base import Event, Kube
from forebay_operator.kube.memory import MemoryKube
from forebay_operator.model import CACHE_CLUSTER, DATASET, EVENT, SERVICE, Key, Kind, KubeExpired, KubeUnavailable
from forebay_operator.reconcile.cluster import Reconciler
from forebay_operator.reconcile.loop import Clocks, Operator
from forebay_operator.reconcile.tally import Tally

NS = "default"
CLOCKS = Clocks(time.time, time.monotonic, lambda: 0.0)
MAIN, SLOW = Key(CACHE_CLUSTER, NS, "main"), Key(CACHE_CLUSTER, NS, "slow")


class Stage:
    """A Kube that counts looks at clusters, and can hold, fail or break what a test names."""

    def __init__(self) -> None:
        self.kube = MemoryKube()
        self.looks: dict[Key, int] = {}
        self.held: set[Key] = set()
        self.broken: dict[Key, Exception] = {}
        self.broken_watches: dict[Kind, Exception] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.kube, name)

    async def look(self, key: Key) -> None:
        self.looks[key] = self.looks.get(key, 0) + 1
        if key in self.held:
            await asyncio.Event().wait()
        if key in self.broken:
            raise self.broken[key]

    async def watch(self, kind: Kind, resource_version: str, **how: Any) -> AsyncIterator[Event]:
        async for event in self.kube.watch(kind, resource_version, **how):
            if kind in self.broken_watches:
                raise self.broken_watches.pop(kind)
            yield event

    async def apply_cluster(self, name: str = "main", **spec: Any) -> None:
        await self.kube.apply(objects.cluster(NS, name, **spec), manager="user", force=True)

    def has(self, key: Key) -> bool:
        return key in self.kube._objects


@dataclass
class Counted:
    stage: Stage
    inner: Reconciler

    async def reconcile(self, key: Key) -> float | None:
        await self.stage.look(key)
        return await self.inner.reconcile(key)


@asynccontextmanager
async def running(stage: Stage) -> AsyncIterator[Operator]:
    kube: Kube = stage  # type: ignore[assignment]
    operator = Operator(kube, OneMember(), CLOCKS, Tally(Telemetry(), time.monotonic))
    operator._reconciler = Counted(stage, operator._reconciler)  # type: ignore[assignment]
    task = asyncio.create_task(operator.run())
    try:
        yield operator
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def until(condition: Callable[[], bool], deadline_s: float = 10.0) -> None:
    async with asyncio.timeout(deadline_s):
        while not condition():
            await asyncio.sleep(0.001)


async def quiet(stage: Stage) -> int:
    """Looks so far, once the events under way have been seen."""
    for _ in range(50):
        await asyncio.sleep(0)
    return sum(stage.looks.values())


async def test_an_event_wakes_the_cluster_it_belongs_to() -> None:
    stage = Stage()
    await stage.apply_cluster()
    async with running(stage):
        await until(lambda: stage.has(names.member_set(NS, "main")))
        await stage.kube.delete(names.s3(NS, "main"))
        await until(lambda: stage.has(names.s3(NS, "main")))
        await stage.apply_cluster("second")
        await until(lambda: stage.has(names.member_set(NS, "second")))


async def test_a_dataset_wakes_its_cluster() -> None:
    stage = Stage()
    await stage.apply_cluster(suspend=True)
    async with running(stage):
        await until(lambda: MAIN in stage.looks)
        before = await quiet(stage)
        await stage.kube.apply(objects.dataset(NS), manager="user")
        await until(lambda: stage.looks[MAIN] > before)
        before = await quiet(stage)
        await stage.kube.delete(Key(DATASET, NS, "photos"))
        await until(lambda: stage.looks[MAIN] > before)


async def test_a_change_of_status_alone_wakes_nobody() -> None:
    stage = Stage()
    await stage.apply_cluster(suspend=True)
    await stage.kube.apply(objects.dataset(NS), manager="user")
    async with running(stage):
        await until(lambda: MAIN in stage.looks)
        before = await quiet(stage)
        await stage.kube.apply_status({**objects.dataset(NS), "status": {"bucket": "x"}}, manager="other", force=True)
        await stage.kube.apply_status({**objects.cluster(NS), "status": {"replicas": 7}}, manager="other", force=True)
        assert await quiet(stage) == before


async def test_a_cluster_that_hangs_keeps_no_other_waiting() -> None:
    stage = Stage()
    stage.held.add(SLOW)
    await stage.apply_cluster("slow")
    async with running(stage):
        await until(lambda: SLOW in stage.looks)
        await stage.apply_cluster()
        await until(lambda: stage.has(names.member_set(NS, "main")))
        assert stage.looks[SLOW] == 1, "one look at a time"


@pytest.mark.parametrize(
    ("error", "said"),
    [(KubeUnavailable("no answer"), "look failed"), (KeyError("a bug"), "look failed by a bug of ours")],
)
async def test_a_failing_cluster_is_tried_again_and_blocks_no_other(
    error: Exception, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage()
    stage.broken[SLOW] = error
    await stage.apply_cluster("slow")
    with caplog.at_level(logging.WARNING):
        async with running(stage):
            await until(lambda: stage.looks.get(SLOW, 0) == 2)
            lines = [record.message for record in caplog.records]
            await stage.apply_cluster()
            await until(lambda: stage.has(names.member_set(NS, "main")))
            del stage.broken[SLOW]
            await until(lambda: stage.has(names.member_set(NS, "slow")))
    assert lines[:1] == [said]
    assert len(lines) <= 2


@pytest.mark.parametrize("error", [KubeExpired("too old"), KubeUnavailable("dropped")])
async def test_a_watch_that_breaks_begins_anew_and_misses_nothing(error: Exception) -> None:
    stage = Stage()
    await stage.apply_cluster(suspend=True)
    async with running(stage):
        await until(lambda: MAIN in stage.looks)
        await quiet(stage)
        stage.broken_watches[CACHE_CLUSTER] = error
        await stage.kube.delete(MAIN)
        await stage.apply_cluster("second")
        await until(lambda: stage.has(names.member_set(NS, "second")))


async def test_silence_counts_what_lacks_a_sign_of_life_longest() -> None:
    stage, clock = Stage(), [0.0]
    stage.held.add(MAIN)
    clocks, tally = Clocks(time.time, lambda: clock[0], lambda: 0.0), Tally(Telemetry(), lambda: clock[0])
    operator = Operator(stage, OneMember(), clocks, tally)  # type: ignore[arg-type]
    clock[0] = 7.0
    assert operator.silent_s == 7.0, "no watch said anything"
    operator.wake(MAIN)
    clock[0] = 400.0
    assert operator.silent_s == 400.0
    for feed in operator._kube._feeds.values():
        feed.heard = clock[0]
    assert operator.silent_s == 393.0, "nobody looks at what is due"


async def test_a_wake_from_outside_is_a_look() -> None:
    stage = Stage()
    async with running(stage) as operator:
        operator.wake(MAIN)
        await until(lambda: stage.looks.get(MAIN) == 1)


@dataclass
class Corner:
    """One namespace of a Kube, and what was asked of it."""

    kube: Any
    namespace: str
    writes: int = 0
    reads: int = 0

    def __getattr__(self, name: str) -> Any:
        call = getattr(self.kube, name)
        self.writes += name in WRITES
        self.reads += name == "get"
        return call

    def list(self, kind: Kind, namespace: str | None = None, labels: Any = None) -> Any:
        self.reads += 1
        return self.kube.list(kind, namespace or self.namespace, labels)

    def watch(self, kind: Kind, resource_version: str, namespace: str | None = None, **how: Any) -> Any:
        return self.kube.watch(kind, resource_version, namespace or self.namespace, **how)


async def told(world: World, *reasons: str) -> None:
    """Once `kubectl describe` shows these, and nothing else."""
    async with asyncio.timeout(10):
        while True:
            events = (await world.kube.kube.list(EVENT, world.namespace)).items
            if (found := {one["reason"] for one in events}) == set(reasons):
                return
            assert found < set(reasons), events
            await asyncio.sleep(0.01)


async def drift(world: World) -> None:
    """Somebody edits a field of ours: the watch tells, and it is undone."""
    ports = [{"name": "s3", "port": 7450, "protocol": "TCP", "targetPort": 1}]
    metadata = {"name": "main-s3", "annotations": {"note": "mine"}}
    await world.apply({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": ports}})
    async with asyncio.timeout(10):
        while (service := await world.get(SERVICE, "main-s3"))["spec"]["ports"][0]["targetPort"] != "s3":
            await asyncio.sleep(0.001)
    assert service["metadata"]["annotations"]["note"] == "mine"


async def test_from_manifests_to_a_head_by_events_alone_and_then_silence(world: World) -> None:
    """The whole loop, on the dictionary and on a real API server."""
    corner = Corner(world.kube.kube, world.namespace)
    tally = Tally(Telemetry(), time.monotonic)
    operator = Operator(corner, world.member, CLOCKS, tally)  # type: ignore[arg-type]
    task = asyncio.create_task(operator.run())

    async def head() -> object:
        return (await world.get(DATASET, "photos")).get("status", {}).get("head")

    try:
        await world.cluster()
        keys = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "a2V5")
        await world.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "origin"}, "data": keys})
        source = {"name": "s", "s3": {"bucket": "photos"}, "credentials": {"secretRef": {"name": "origin"}}}
        uid = await world.dataset(sources=[source])
        await until(lambda: corner.writes > 8)
        await world.pod()
        await until(lambda: uid in world.member.syncs)
        world.member.end(uid, "c" * 64, int(time.time() * 1000))
        await until(lambda: bool(world.member.state and world.member.state.datasets[0].head))
        assert await head()
        await until(lambda: not operator._queue._busy and min(operator._queue._due.values()) > time.monotonic() + 10)
        await told(world, "AllMembersReady", "Readable")
        before = corner.writes, corner.reads
        for _ in range(3):
            operator.wake(world.key)
            await until(lambda: not operator._queue._busy and min(operator._queue._due.values()) > time.monotonic())
        assert (corner.writes, corner.reads) == before, "a look with nothing to do asks the API server nothing"
        await drift(world)
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
