"""The driver, an agent and a member as processes, on real mounts: what a pod of a real node would see.

The node is a mount namespace of its own, and the agent's container another one that shares the kubelet's directory with it, as
mountPropagation Bidirectional does. Nothing of it outlives the processes.
"""

import asyncio
import contextlib
import errno
import functools
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from tests.cache.csi.conftest import PREFIX, READER, Kubelet, refused
from tests.cache.mount.conftest import loops
from tests.rigs.house import CLUSTER, DEADLINE_S, Member, member, wait_until
from tests.rigs.rgw import free_port

from forebay_cache.contract.config import DatasetState, DirectorySource, Source
from forebay_cache.contract.volume import VolumeAttributes
from forebay_cache.mount.support import missing_part

pytestmark = pytest.mark.root
SIZE = 200_000
PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED, grpc.StatusCode.FAILED_PRECONDITION)
FILES = ("a.bin", "deep/b.bin")
CONTEXT = VolumeAttributes(
    cluster_uid=CLUSTER, dataset_uid="uid-photos", dataset_namespace="team", dataset_name="photos"
).attributes()


def content(name: str, version: int) -> bytes:
    return random.Random(f"{name}{version}").randbytes(SIZE)


@dataclass
class Origin:
    folder: pathlib.Path
    member: Member
    dataset: DatasetState
    version: int = 0

    def commit(self) -> None:
        """Everything is overwritten, and synced."""
        self.version += 1
        for name in FILES:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_bytes(content(name, self.version))
        report = self.member.sync(self.dataset)
        assert report.commit, report
        old = [self.dataset.head] if self.dataset.head else []
        update = {"head": report.commit.id, "retained": (*self.dataset.retained, *old)}
        self.dataset = self.dataset.model_copy(update=update)
        self.member.serve(self.dataset)


@dataclass
class Machine:
    """A node: its mount namespace, and the processes in it."""

    folder: pathlib.Path
    origin: Origin
    kubelet: Kubelet
    holder: subprocess.Popen[bytes]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """agent: in a container that shares the kubelet's directory; csi: beside the kubelet."""
        inside = ["unshare", "-m", "--propagation", "unchanged"] if name == "agent" else []
        program = [sys.executable, "-m", "forebay_cache.main", name, "--config", str(self.folder / f"{name}.json")]
        with open(self.folder / f"{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "nsenter", "-t", str(self.holder.pid), "-m", *inside, *program],
                env=os.environ | {"NODE_NAME": "node-1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        listens = self.folder / "agent.sock" if name == "agent" else pathlib.Path(self.kubelet.paths.registration)
        wait_until(lambda: self.processes[name].poll() is not None or answers(listens), f"{name} listens")
        assert self.processes[name].poll() is None, self.log(name)

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        process = self.processes.pop(name, None)
        if process is not None:
            process.send_signal(number)
            process.wait(30)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def seen(self, path: str) -> pathlib.Path:
        """As the host sees it."""
        return pathlib.Path(f"/proc/{self.holder.pid}/root{path}")

    def reads(self, path: str) -> int:
        """Version of the commit at a path, every byte of which was read. 0: none, or not readable."""
        try:
            found = {name: (self.seen(path) / name).read_bytes() for name in FILES}
        except OSError:
            return 0
        for version in range(1, self.origin.version + 1):
            if found == {name: content(name, version) for name in FILES}:
                return version
        raise AssertionError("bytes of no commit, or of two")

    def mounts(self) -> list[str]:
        """Ours: whatever else this machine has mounted meanwhile is not."""
        text = pathlib.Path(f"/proc/{self.holder.pid}/mountinfo").read_text()
        found = [line.split(" ")[4] for line in text.splitlines() if " - erofs " in line]
        return [target for target in found if target.startswith(f"{self.folder}/")]


@pytest.fixture(scope="module")
def can_run() -> None:
    missing = [name for name in ("unshare", "nsenter", "setpriv") if not shutil.which(name)]
    if reason := missing_part() or (f"no {' and '.join(missing)} here (util-linux)" if missing else ""):
        pytest.skip(reason)


@pytest.fixture(scope="module")
def place(can_run: None) -> Iterator[pathlib.Path]:
    """On a disk, and short: sockets are made in it. Nothing of its mounts is left when the tests are over."""
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir="/var/tmp") as name:
        yield pathlib.Path(name)
        wait_until(lambda: not loops(pathlib.Path(name)), "loop devices end")


@pytest.fixture(scope="module")
def origin(place: pathlib.Path) -> Iterator[Origin]:
    folder, root = place / "origin", place / CLUSTER / "m0"
    folder.mkdir()
    root.mkdir(parents=True)
    source = Source(name="all", directory=DirectorySource(path=str(folder)))
    dataset = DatasetState(uid="uid-photos", namespace="team", name="photos", bucket="photos", sources=(source,))
    with member(root) as one:
        one.start()
        one.serve(dataset)
        made = Origin(folder, one, dataset)
        made.commit()
        yield made


@pytest.fixture
async def machine(place: pathlib.Path, origin: Origin) -> AsyncIterator[Machine]:
    folder = pathlib.Path(tempfile.mkdtemp(dir=place, prefix=""))
    kubelet_dir = folder / "k"
    kubelet_dir.mkdir()
    for name, document in documents(folder, kubelet_dir, place).items():
        (folder / f"{name}.json").write_text(json.dumps(document))
    # what others mount is taken out of the new namespace, which would hold it when they are done with it
    begin = (
        f"umount -a -l -t erofs; mount --bind {kubelet_dir} {kubelet_dir} && mount --make-shared {kubelet_dir} && echo "
        "&& exec sleep infinity"
    )
    holder = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "unshare", "-m", "sh", "-c", begin], stdout=subprocess.PIPE
    )
    assert holder.stdout
    assert holder.stdout.readline() == b"\n"
    kubelet = Kubelet(kubelet_dir)
    made = Machine(folder, origin, kubelet, holder)
    try:
        yield made
    finally:
        for name in ("csi", "agent"):
            made.kill(name, signal.SIGTERM)
        left = made.mounts()
        holder.kill()
        holder.communicate(timeout=10)
        assert not left, left


@pytest.fixture
def node(machine: Machine) -> Machine:
    """Agent and driver run."""
    machine.start("agent")
    machine.start("csi")
    return machine


def documents(folder: pathlib.Path, kubelet_dir: pathlib.Path, place: pathlib.Path) -> dict[str, dict[str, Any]]:
    listens = str(folder / "agent.sock")
    pattern = str(place / "{cluster_uid}/*/run/forebay/member.sock")
    agent = {"socket": listens, "state_path": str(folder / "agent"), "member_sockets": pattern, "workers": 2}
    state = str(folder / "csi")
    csi = {"kubelet_dir": str(kubelet_dir), "agent_socket": listens, "state_path": state, "health_port": free_port()}
    csi |= {"idle_s": 0, "heal_s": 0.05}
    return {"agent": agent, "csi": csi}


async def up(node: Machine, *pods: str) -> list[str]:
    await node.kubelet.stage(context=CONTEXT)
    return [await node.kubelet.publish(pod, context=CONTEXT) for pod in pods]


async def down(node: Machine, *pods: str) -> None:
    for pod in pods:
        await node.kubelet.unpublish(pod)
    await node.kubelet.unstage()


async def test_pods_read_every_byte_and_nothing_is_left(node: Machine) -> None:
    info = await node.kubelet.register()
    assert info.endpoint == node.kubelet.paths.driver
    one, two = await up(node, "one", "two")
    assert node.reads(one) == node.reads(two) == node.origin.version
    assert sorted(node.mounts()) == sorted([node.kubelet.staging(), one, two])
    with pytest.raises(OSError, match="Read-only") as caught:
        (node.seen(one) / "new").write_bytes(b"x")
    assert caught.value.errno == errno.EROFS
    usage = (await node.kubelet.node("NodeGetVolumeStats", volume_id="v", volume_path=one)).usage
    assert [(one.used, one.unit) for one in usage] == [(len(FILES) * SIZE, 1), (len(FILES), 2)]
    await node.kubelet.unpublish("one")
    assert not os.path.exists(one)
    assert node.reads(two) == node.origin.version
    await down(node, "two")
    assert node.mounts() == []


async def test_every_call_twice_is_as_good_as_once(node: Machine) -> None:
    for _ in range(2):
        (target,) = await up(node, "pod")
        assert sorted(node.mounts()) == sorted([node.kubelet.staging(), target])
        assert node.reads(target) == node.origin.version
    for _ in range(2):
        await node.kubelet.unpublish("pod")
        assert not os.path.exists(target)
    for _ in range(2):
        await node.kubelet.unstage()
        assert os.listdir(node.kubelet.staging()) == []
    assert node.mounts() == []


async def test_many_calls_at_once_end_as_one_after_the_other(node: Machine) -> None:
    pods = [f"pod{number}" for number in range(12)]
    await node.kubelet.stage(context=CONTEXT)
    targets = await asyncio.gather(*(node.kubelet.publish(pod, context=CONTEXT) for pod in pods * 2))
    assert sorted(node.mounts()) == sorted({node.kubelet.staging(), *targets})
    assert {node.reads(target) for target in targets} == {node.origin.version}
    await asyncio.gather(*(node.kubelet.unpublish(pod) for pod in pods * 2))
    assert node.mounts() == [node.kubelet.staging()]
    await node.kubelet.unstage()


async def test_volumes_of_one_commit_come_and_go_without_regard_to_each_other(node: Machine) -> None:
    """They share one file system: the claims of a Dataset in several namespaces."""

    async def live(volume: str, seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(12):
            await node.kubelet.stage(volume, context=CONTEXT)
            target = await node.kubelet.publish(f"{volume}-pod", volume, context=CONTEXT)
            if rng.random() < 0.3:
                assert await asyncio.to_thread(node.reads, target) == node.origin.version
            await node.kubelet.unpublish(f"{volume}-pod", volume)
            await node.kubelet.unstage(volume)

    await asyncio.gather(*(live(f"v{seed}", seed) for seed in range(4)))
    assert node.mounts() == []
    assert "failed" not in node.log("agent")


async def test_a_pod_that_is_gone_is_named_and_leaves_nothing(node: Machine) -> None:
    await node.kubelet.stage(context=CONTEXT)
    target = pathlib.Path(node.kubelet.target("pod"))
    target.parent.rmdir()
    with refused(grpc.StatusCode.NOT_FOUND, str(target.parent)):
        await node.kubelet.node(
            "NodePublishVolume", volume_id="v", staging_target_path=node.kubelet.staging(), target_path=str(target),
            volume_capability=READER, volume_context=CONTEXT,
        )  # fmt: skip
    assert not target.parent.exists()
    await node.kubelet.unstage()


async def test_what_is_in_use_is_given_back_all_the_same(node: Machine) -> None:
    """A process that has a file open holds up no pod's end, and reads what it had opened."""
    (target,) = await up(node, "pod")
    with open(node.seen(target) / FILES[0], "rb") as file:
        await down(node, "pod")
        assert not os.path.exists(target)
        assert node.mounts() == []
        assert file.read() == content(FILES[0], node.origin.version)


async def test_what_somebody_else_mounted_is_left_alone(node: Machine) -> None:
    await node.kubelet.stage(context=CONTEXT)
    target = node.kubelet.target("pod")
    os.mkdir(target)
    inside = ["nsenter", "-t", str(node.holder.pid), "-m"]
    subprocess.run([*inside, "mount", "-t", "tmpfs", "other", target], check=True, timeout=10)
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "tmpfs mounted on it already"):
        await node.kubelet.publish("pod", context=CONTEXT)
    await node.kubelet.unpublish("pod")
    assert os.path.ismount(node.seen(target))
    subprocess.run([*inside, "umount", target], check=True, timeout=10)
    await down(node, "pod")
    assert not os.path.exists(target)


async def test_latest_stays_while_a_pod_reads_and_advances_when_idle(node: Machine) -> None:
    (first,) = await up(node, "first")
    old = node.reads(first)
    node.origin.commit()
    (second,) = await up(node, "second")
    assert node.reads(second) == node.reads(first) == old
    await down(node, "first", "second")
    (third,) = await up(node, "third")
    assert node.reads(third) == old + 1
    await down(node, "third")


async def test_what_would_not_reach_the_host_is_refused(machine: Machine) -> None:
    own = subprocess.run(
        ["nsenter", "-t", str(machine.holder.pid), "-m", "mount", "--make-private", str(machine.kubelet.folder)],
        check=False, timeout=10,
    )  # fmt: skip
    assert own.returncode == 0
    machine.start("agent")
    machine.start("csi")
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "is not shared", "mountPropagation: Bidirectional"):
        await machine.kubelet.stage(context=CONTEXT)
    assert machine.mounts() == []


async def test_a_dataset_nobody_knows_and_a_cluster_that_is_not_here_are_named(node: Machine) -> None:
    with refused(grpc.StatusCode.NOT_FOUND, "uid-other"):
        await node.kubelet.stage(context={**CONTEXT, "datasetUid": "uid-other"})
    with refused(grpc.StatusCode.NOT_FOUND, "team/photos no longer has commit", "forebay commits"):
        await node.kubelet.stage(context={**CONTEXT, "commit": "f" * 64})
    with refused(grpc.StatusCode.UNAVAILABLE, "no member of cluster other is on this node"):
        await node.kubelet.stage(context={**CONTEXT, "clusterUid": "other"})


async def test_pods_read_on_while_the_driver_is_dead_and_replaced(node: Machine) -> None:
    (target,) = await up(node, "pod")
    node.kill("csi")
    assert node.reads(target) == node.origin.version
    node.start("csi")
    (other,) = await up(node, "other")
    assert node.reads(other) == node.origin.version
    await down(node, "pod", "other")
    assert node.mounts() == []


async def test_it_is_not_ready_while_the_agent_is_down(node: Machine) -> None:
    assert "no kubelet has asked" in ready(node)
    await node.kubelet.register()
    assert ready(node) == "ok"
    node.kill("agent")
    assert f"the agent at {node.folder}/agent.sock does not answer" in ready(node)
    assert not (await node.kubelet.identity("Probe")).ready.value
    with refused(grpc.StatusCode.UNAVAILABLE, "is its pod running on this node?"):
        await node.kubelet.stage(context=CONTEXT)
    node.start("agent")
    assert ready(node) == "ok"
    assert (await node.kubelet.identity("Probe")).ready.value
    await up(node, "pod")
    await down(node, "pod")


async def test_what_a_crash_left_that_nobody_counts_on_is_gone(node: Machine) -> None:
    """The driver forgot it, the kubelet never asks again: the next agent still takes it down."""
    (target,) = await up(node, "pod")
    node.kill("csi")
    node.kill("agent")
    shutil.rmtree(node.folder / "csi")
    assert len(node.mounts()) == 2
    node.start("agent")
    assert node.mounts() == []
    node.start("csi")
    assert not node.seen(target).exists()
    with refused(grpc.StatusCode.NOT_FOUND, "is not at"):
        await node.kubelet.node("NodeGetVolumeStats", volume_id="v", volume_path=target)
    await down(node, "pod")


async def test_what_no_record_knows_goes_when_the_kubelet_gives_it_back(node: Machine) -> None:
    (target,) = await up(node, "pod")
    node.kill("agent")
    shutil.rmtree(node.folder / "agent")
    node.start("agent")
    node.kill("csi", signal.SIGTERM)
    shutil.rmtree(node.folder / "csi")
    node.start("csi")
    await down(node, "pod")
    assert node.mounts() == []
    assert not os.path.exists(target)


async def test_after_an_agents_death_every_path_comes_back_by_itself(node: Machine) -> None:
    targets = await up(node, "one", "two")
    version = node.reads(targets[0])
    node.origin.commit()
    node.kill("agent")
    node.start("agent")
    wait_until(lambda: all(node.reads(target) == version for target in targets), "mounts come back")
    assert sorted(node.mounts()) == sorted([node.kubelet.staging(), *targets])
    await down(node, "one", "two")
    assert node.mounts() == []


@pytest.mark.parametrize("victim", ["csi", "agent"])
@pytest.mark.parametrize("seed", range(2))
async def test_killed_at_any_point_the_same_calls_again_end_well(node: Machine, victim: str, seed: int) -> None:
    """It dies somewhere in the calls, from before their first step to past their last."""
    print("seed", seed)
    rng = random.Random(seed)
    for step in range(6):
        pod = f"pod{step}"
        comes, goes = functools.partial(up, node, pod), functools.partial(down, node, pod)
        with killed(node, victim, rng.uniform(0, 0.12)):
            await tried(comes)
            await tried(rng.choice((goes, comes)))
        await done(comes)
        wait_until(functools.partial(shows, node, pod), "the pod reads")
        await done(goes)
        wait_until(lambda: not node.mounts(), "nothing is mounted")


def shows(node: Machine, pod: str) -> bool:
    return node.reads(node.kubelet.target(pod)) == node.origin.version


@contextlib.contextmanager
def killed(node: Machine, victim: str, after_s: float) -> Iterator[None]:
    """Somewhere in the block, by a thread that does not wait for our loop; started again at its end."""
    process = node.processes.pop(victim)
    killer = threading.Timer(after_s, process.kill)
    killer.start()
    try:
        yield
    finally:
        killer.join()
        process.wait(30)
        node.start(victim)


async def tried(calls: Callable[[], Awaitable[Any]]) -> None:
    """They may fail with what a kubelet repeats a call after."""
    try:
        await calls()
    except grpc.aio.AioRpcError as failure:
        if failure.code() not in PASSING:
            raise


async def done(calls: Callable[[], Awaitable[Any]]) -> None:
    """As a kubelet has it done: again and again."""
    until = time.monotonic() + DEADLINE_S
    while True:
        try:
            await calls()
        except grpc.aio.AioRpcError as failure:
            if failure.code() not in PASSING or time.monotonic() > until:
                raise
            await asyncio.sleep(0.05)
        else:
            return


def ready(node: Machine) -> str:
    port = json.loads((node.folder / "csi.json").read_text())["health_port"]
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    with contextlib.closing(line):
        line.request("GET", "/readyz")
        answer = line.getresponse()
        said = answer.read().decode().strip()
        assert (answer.status == 200) == (said == "ok")
        return said


def answers(path: pathlib.Path) -> bool:
    with socket.socket(socket.AF_UNIX) as line:
        try:
            line.connect(str(path))
        except OSError:
            return False
        return True
