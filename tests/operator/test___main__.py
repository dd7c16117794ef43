"""The operator as a process against a real API server: elected, it makes what a cluster needs; told to go, it hands over."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.rigs import objects
from tests.rigs.controlplane import ControlPlane, free_ports

from forebay_operator.__main__ import parse
from forebay_operator.kube import http
from forebay_operator.kube.base import Kube
from forebay_operator.model import CACHE_CLUSTER, LEASE, STATEFUL_SET, Key, KubeNotFound, Unsupported

DEADLINE_S = 60.0


class Process:
    """One operator, looking after one namespace."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        (self.port,) = free_ports(1)
        command = [sys.executable, "-m", "forebay_operator", "--namespace", namespace]
        command += ["--health-host", "127.0.0.1", "--health-port", str(self.port), "--log-format", "text"]
        environment = {**os.environ, "KUBECONFIG": str(plane.kubeconfig)}
        self.child = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)

    def ask(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code, exc.read().decode()
        except OSError:
            return 0, ""

    def elected(self) -> bool:
        return bool(re.search(r"^forebay_operator_elected 1", self.ask("/metrics")[1], re.MULTILINE))

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        self.child.send_signal(number)
        _, said = self.child.communicate(timeout=DEADLINE_S)
        return self.child.returncode, said


@contextmanager
def started(plane: ControlPlane, namespace: str) -> Iterator[Process]:
    process = Process(plane, namespace)
    try:
        yield process
    finally:
        if process.child.poll() is None:
            process.child.kill()
            process.child.communicate(timeout=10)


@pytest.fixture
async def kube(control_plane: ControlPlane) -> AsyncIterator[Kube]:
    found = await http.connect_file(str(control_plane.kubeconfig))
    yield found
    await found.aclose()


async def until(done: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + DEADLINE_S
    while not await asyncio.to_thread(done):
        assert time.monotonic() < end, what
        await asyncio.sleep(0.05)


async def there(kube: Kube, key: Key) -> Any:
    """The object once it is there."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                return await kube.get(key)
            except KubeNotFound:
                await asyncio.sleep(0.05)


@pytest.mark.kube
async def test_one_works_the_other_waits_and_takes_over_when_the_first_goes(
    control_plane: ControlPlane, kube: Kube
) -> None:
    namespace = control_plane.namespace()
    with started(control_plane, namespace) as one:
        await until(one.elected, "elected")
        assert one.ask("/healthz") == (200, "ok\n")
        with started(control_plane, namespace) as two:
            await until(lambda: two.ask("/readyz")[0] == 200, "the second ready")
            assert not two.elected()
            await kube.apply(objects.cluster(namespace, "first"), manager="user")
            made = await there(kube, Key(STATEFUL_SET, namespace, "first"))
            assert made["metadata"]["ownerReferences"][0]["kind"] == "CacheCluster"
            code, said = one.end()
            assert code == 0, said
            assert "Traceback" not in said, said
            await until(two.elected, "the second elected")
            await kube.apply(objects.cluster(namespace, "second"), manager="user")
            await there(kube, Key(STATEFUL_SET, namespace, "second"))
            two.end()
    lease = await kube.get(Key(LEASE, namespace, "forebay-operator"))
    assert (lease["spec"]["holderIdentity"], lease["spec"]["leaseTransitions"]) == ("", 1)


@pytest.mark.kube
async def test_other_namespaces_are_left_alone(control_plane: ControlPlane, kube: Kube) -> None:
    namespace, other = control_plane.namespace(), control_plane.namespace()
    await kube.apply(objects.cluster(other, "theirs"), manager="user")
    await kube.apply(objects.cluster(namespace, "ours"), manager="user")
    with started(control_plane, namespace):
        await there(kube, Key(STATEFUL_SET, namespace, "ours"))
    assert "status" not in await kube.get(Key(CACHE_CLUSTER, other, "theirs"))
    with pytest.raises(KubeNotFound):
        await kube.get(Key(STATEFUL_SET, other, "theirs"))


def test_without_a_word_it_looks_after_its_own_namespace() -> None:
    assert parse([], {"POD_NAMESPACE": "forebay"}).watched == ("forebay",)
    assert parse(["--watch", "a", "--watch", "b"], {"POD_NAMESPACE": "forebay"}).watched == ("a", "b")
    assert parse(["--all-namespaces"], {"POD_NAMESPACE": "forebay"}).watched == ()
    assert parse(["--watch", "a"], {"POD_NAMESPACE": "forebay"}).lease.namespace == "forebay"


def test_outside_of_a_pod_it_asks_for_its_namespace() -> None:
    with pytest.raises(Unsupported, match="--namespace"):
        parse([], {})
