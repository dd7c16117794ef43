import asyncio
import base64
import os
import signal
import socket
import stat
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from forebay_operator.kube.memory import MemoryKube
from forebay_operator.model import POD, SECRET, STATEFUL_SET, Key, KubeNotFound, Object
from forebay_operator.runtime.controller import ROOT_ANNOTATION, Runtime, Settings, free_address

SET, POD_0, POD_1 = Key(STATEFUL_SET, "ns", "t"), Key(POD, "ns", "t-0"), Key(POD, "ns", "t-1")
COUNT = "f=open('data/starts','a'); f.write('x'); f.close(); import time; time.sleep(600)"


def secret(value: str) -> Object:
    data = {"key": base64.b64encode(value.encode()).decode()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "ns"}, "data": data}


def stateful_set(replicas: int, body: str = COUNT, grace_s: int = 30, **extra: Any) -> Object:
    container = {
        "name": "c",
        "command": ["python", "-I", "-S", "-c", body],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "s", "mountPath": "/etc/s"}],
    }
    template = {
        "metadata": {"labels": {"app": "t"}},
        "spec": {
            "containers": [container],
            "volumes": [{"name": "s", "secret": {"secretName": "s"}}],
            "terminationGracePeriodSeconds": grace_s,
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "t", "namespace": "ns", **extra},
        "spec": {
            "replicas": replicas,
            "serviceName": "t",
            "selector": {"matchLabels": {"app": "t"}},
            "template": template,
            "volumeClaimTemplates": [{"metadata": {"name": "data"}}],
        },
    }


class House:
    def __init__(self, state: Path) -> None:
        self.kube, self.state = MemoryKube(), state
        settings = Settings(state, {"PATH": os.environ["PATH"]}, time.time, asyncio.sleep)
        self.task = asyncio.create_task(Runtime(self.kube, settings).run())

    async def apply(self, body: Object) -> None:
        await self.kube.apply(body, manager="test", force=True)

    async def until(self, key: Key, fits: Callable[[Mapping[str, Any]], bool]) -> Object:
        async with asyncio.timeout(20):
            while True:
                version = (await self.kube.list(key.kind)).resource_version
                try:
                    found = await self.kube.get(key)
                except KubeNotFound:
                    found = {}
                if fits(found):
                    return found
                assert not self.task.done(), self.task
                await anext(aiter(self.kube.watch(key.kind, version)))

    async def stop(self) -> None:
        self.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self.task


def ready(count: int) -> Callable[[Mapping[str, Any]], bool]:
    return lambda found: (found.get("status") or {}).get("readyReplicas") == count


def replicas(count: int) -> Callable[[Mapping[str, Any]], bool]:
    return lambda found: (found.get("status") or {}).get("replicas") == count


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path)
    await made.apply(secret("one"))
    yield made
    await made.stop()
    assert not list((tmp_path / "processes").iterdir())


async def test_a_set_runs_its_pods_in_order_each_with_an_address_and_claim(house: House) -> None:
    await house.apply(stateful_set(2))
    await house.until(SET, ready(2))
    pods = [await house.kube.get(key) for key in (POD_0, POD_1)]
    addresses = {pod["status"]["podIP"] for pod in pods}
    assert len(addresses) == 2
    assert all(address.startswith("127.") for address in addresses)
    assert sorted(p.name for p in (house.state / "claims/ns").iterdir()) == ["data-t-0", "data-t-1"]
    assert Path(pods[0]["metadata"]["annotations"][ROOT_ANNOTATION], "etc/s/key").read_text() == "one"


async def test_a_claim_survives_scaling_to_zero_and_back(house: House) -> None:
    await house.apply(stateful_set(1))
    await house.until(SET, ready(1))
    await house.apply(stateful_set(0))
    await house.until(SET, replicas(0))
    await house.apply(stateful_set(1))
    await house.until(SET, ready(1))
    starts = house.state / "claims/ns/data-t-0/starts"
    async with asyncio.timeout(10):
        while starts.read_text() != "xx":
            await asyncio.sleep(0.01)


async def test_a_killed_process_is_restarted_and_counted(house: House) -> None:
    await house.apply(stateful_set(1))
    await house.until(SET, ready(1))
    (record,) = (house.state / "processes").iterdir()
    os.killpg(int(record.name), signal.SIGKILL)
    found = await house.until(POD_0, lambda p: p["status"]["containerStatuses"][0]["restartCount"] == 1)
    assert found["status"]["containerStatuses"][0]["lastState"]["terminated"]["signal"] == 9


async def test_a_deleted_pod_comes_back_with_the_newest_template_only_then(house: House) -> None:
    await house.apply(stateful_set(1))
    old = await house.until(POD_0, lambda p: bool(p.get("status")))
    await house.apply(stateful_set(1, body=COUNT + " "))
    await house.until(SET, lambda s: s["status"]["updatedReplicas"] == 0)
    await house.kube.delete(POD_0)
    await house.until(SET, lambda s: s["status"]["updatedReplicas"] == s["status"].get("readyReplicas") == 1)
    new = await house.kube.get(POD_0)
    assert new["metadata"]["uid"] != old["metadata"]["uid"]


async def test_a_changed_secret_reaches_a_running_pod_as_a_private_file(house: House) -> None:
    await house.apply(stateful_set(1))
    await house.until(SET, ready(1))
    await house.apply(secret("two"))
    file = house.state / "pods/ns.t-0/root/etc/s/key"
    async with asyncio.timeout(10):
        while file.read_text() != "two":
            await asyncio.sleep(0.01)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_what_a_gone_owner_owned_is_collected_and_stopped(house: House) -> None:
    gone = {"apiVersion": "forebay.dev/v1alpha1", "kind": "CacheCluster", "name": "x", "uid": "gone"}
    await house.apply(stateful_set(1))
    await house.until(SET, ready(1))
    await house.apply(stateful_set(1, ownerReferences=[gone]))
    await house.until(POD_0, lambda p: not p)
    async with asyncio.timeout(10):
        while (house.state / "pods/ns.t-0").exists():
            await asyncio.sleep(0.01)
    with pytest.raises(KubeNotFound):
        await house.kube.get(SET)
    await house.kube.get(Key(SECRET, "ns", "s"))


async def test_a_missing_secret_shows_in_the_pods_status(house: House) -> None:
    await house.kube.delete(Key(SECRET, "ns", "s"))
    await house.apply(stateful_set(1))
    state = await house.until(POD_0, lambda p: "Secret ns/s not found" in str(p.get("status")))
    assert state["status"]["phase"] == "Pending"
    await house.apply(secret("late"))
    await house.until(SET, ready(1))


def test_addresses_are_stable_and_avoid_those_taken() -> None:
    first = free_address("name", [17451])
    assert first == free_address("name", [17451])
    with socket.create_server((first, 17451)):
        assert free_address("name", [17451]) != first
