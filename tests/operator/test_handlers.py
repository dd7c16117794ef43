"""kopf on a real API server: it wakes for what users write, keeps nothing in their objects, and goes when it is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.rigs import objects
from tests.rigs.controlplane import ControlPlane

from forebay_operator import handlers
from forebay_operator.kube import http
from forebay_operator.kube.base import Kube
from forebay_operator.model import CACHE_CLUSTER, DATASET, Key

pytestmark = pytest.mark.kube
DEADLINE_S = 30.0


class Ears:
    """kopf that listens, and whom it woke."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self.kube, self.namespace = kube, namespace
        self.woken: list[Key] = []
        self._changed = asyncio.Event()

    def wake(self, key: Key) -> None:
        self.woken.append(key)
        self._changed.set()

    async def hears(self, *names: str) -> None:
        """Until these clusters were woken, in any order, and nobody else; then forgets that."""
        wanted = sorted(Key(CACHE_CLUSTER, self.namespace, name) for name in names)
        async with asyncio.timeout(DEADLINE_S):
            while sorted(self.woken) != wanted:
                assert len(self.woken) <= len(wanted), self.woken
                self._changed.clear()
                await self._changed.wait()
        self.woken.clear()

    @asynccontextmanager
    async def listening(self, *namespaces: str) -> AsyncIterator[None]:
        task = asyncio.create_task(handlers.hear(self.wake, namespaces))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})


@pytest.fixture
async def ears(control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ears]:
    monkeypatch.setenv("KUBECONFIG", str(control_plane.kubeconfig))
    kube = await http.connect_file(str(control_plane.kubeconfig))
    yield Ears(kube, control_plane.namespace())
    await kube.aclose()


async def test_what_is_there_and_what_comes_wakes_its_cluster_status_wakes_nobody(ears: Ears) -> None:
    await ears.kube.apply(objects.cluster(ears.namespace, "first"), manager="user")
    async with ears.listening(ears.namespace):
        await ears.hears("first")
        await ears.kube.apply(objects.dataset(ears.namespace, "photos", clusterRef={"name": "second"}), manager="user")
        await ears.hears("second")
        told = objects.body("forebay.dev/v1alpha1", "CacheCluster", ears.namespace, "first")
        await ears.kube.apply_status({**told, "status": {"replicas": 1}}, manager="us")
        changed = objects.cluster(ears.namespace, "first", suspend=True)
        await ears.kube.apply(changed, manager="user")
        await ears.hears("first")  # once: not for the status
        await ears.kube.delete(Key(DATASET, ears.namespace, "photos"))
        await ears.hears("second")
    first: Any = await ears.kube.get(Key(CACHE_CLUSTER, ears.namespace, "first"))
    assert "finalizers" not in first["metadata"]
    assert not first["metadata"].get("annotations")
    assert {entry["manager"] for entry in first["metadata"]["managedFields"]} == {"user", "us"}


async def test_other_namespaces_are_not_heard_unless_all_are(ears: Ears, control_plane: ControlPlane) -> None:
    other = control_plane.namespace()
    await ears.kube.apply(objects.cluster(other, "theirs"), manager="user")
    await ears.kube.apply(objects.cluster(ears.namespace, "ours"), manager="user")
    async with ears.listening(ears.namespace):
        await ears.hears("ours")
    async with ears.listening():
        async with asyncio.timeout(DEADLINE_S):
            while {Key(CACHE_CLUSTER, other, "theirs"), Key(CACHE_CLUSTER, ears.namespace, "ours")} - set(ears.woken):
                await asyncio.sleep(0.01)


async def test_when_it_goes_it_takes_no_task_of_ours_with_it(ears: Ears) -> None:
    async with ears.listening(ears.namespace):
        await ears.kube.apply(objects.cluster(ears.namespace, "one"), manager="user")
        await ears.hears("one")
        ours = asyncio.create_task(asyncio.Event().wait())
    assert not ours.done()
    ours.cancel()
