"""The loop of the local runtime: what the API server holds, against the processes that run. One pass is `pass_over`."""

import asyncio
import hashlib
import logging
import shutil
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from forebay_operator.kube.base import Kube
from forebay_operator.kube.cache import CachedKube
from forebay_operator.model import (
    KINDS,
    POD,
    STATEFUL_SET,
    Key,
    Kind,
    KubeConflict,
    KubeError,
    KubeExists,
    KubeNotFound,
    Object,
    key_of,
)
from forebay_operator.names import is_controlled
from forebay_operator.runtime import sets
from forebay_operator.runtime.container import Place, container_ports
from forebay_operator.runtime.owners import orphans
from forebay_operator.runtime.pod import Pod, Surroundings
from forebay_operator.runtime.probe import Sleep
from forebay_operator.runtime.process import Processes
from forebay_operator.runtime.volumes import PodDirectory

ROOT_ANNOTATION = "forebay.dev/pod-root"
"""Where a local pod's root directory is; the CLI finds node sockets below it."""
MANAGER = "forebay-runtime"
MERGE_S = 0.02
TICK_S = 5.0
RETRY_S = 1.0
ADDRESSES = 1 << 22
"""127.64.0.0/10."""
ADDRESS_TRIES = 256
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settings:
    state: Path
    environment: Mapping[str, str]
    now: Callable[[], float]
    sleep: Sleep


class Runtime:
    """Runs the pods of `kube`. `run` returns only by cancellation, after every process has ended."""

    def __init__(self, kube: Kube, settings: Settings) -> None:
        self._below = kube
        self._kube = CachedKube(kube, {kind: {} for kind in KINDS.values()}, settings.now)
        self._settings = settings
        self.processes = Processes(settings.state / "processes")
        self._wake = asyncio.Event()
        self._kube.listen(lambda _: self._wake.set())
        self._objects: Mapping[Key, Object] = {}
        self._pods: dict[Key, tuple[Pod, asyncio.Task[None]]] = {}
        self._written: dict[Key, object] = {}

    async def begin(self) -> None:
        """Before anyone looks: ends what a killed run left, and takes back what it last said of its pods."""
        await self.processes.end_orphans()
        for pod in (await self._below.list(POD)).items:
            await self._apply_status(key_of(pod), {"phase": "Pending"})

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._kube.run())
            while True:
                await self._turn(group)

    async def _turn(self, group: asyncio.TaskGroup) -> None:
        with suppress(TimeoutError):  # not wait_for, which loses a cancellation that meets the end of the wait
            async with asyncio.timeout(TICK_S):
                await self._wake.wait()
        await asyncio.sleep(MERGE_S)
        self._wake.clear()
        try:
            await self.pass_over(group)
        except KubeError as exc:
            log.warning("pass failed, trying again error=%s", exc)
            await self._settings.sleep(RETRY_S)
            self._wake.set()

    async def pass_over(self, group: asyncio.TaskGroup) -> None:
        """One pass: collect orphans, run and stop pods, advance sets, write statuses."""
        listings = [await self._kube.list(kind) for kind in KINDS.values()]
        self._objects = {key_of(obj): obj for listing in listings for obj in listing.items}
        for key in orphans(self._objects):
            await self._delete(key, self._objects[key]["metadata"]["uid"])
        self._run_pods(group)
        for key, owner in self._of(STATEFUL_SET):
            await self._advance(key, owner)
        await self._write_statuses()
        self._drop_directories()

    def _of(self, kind: Kind) -> list[tuple[Key, Object]]:
        return [(key, obj) for key, obj in self._objects.items() if key.kind == kind]

    def _run_pods(self, group: asyncio.TaskGroup) -> None:
        wanted = dict(self._of(POD))
        for key, (pod, task) in self._pods.items():
            same = key in wanted and wanted[key]["metadata"]["uid"] == pod.obj["metadata"]["uid"]
            if same:
                pod.refresh()
            elif not task.cancelling():
                task.cancel()
        for key, obj in wanted.items():
            if key not in self._pods:
                self._start(group, key, obj)

    def _start(self, group: asyncio.TaskGroup, key: Key, obj: Object) -> None:
        state, uid = self._settings.state, obj["metadata"]["uid"]
        directory = PodDirectory(self._path(key), state / "claims" / key.namespace)
        directory.belong_to(uid)
        address = free_address(f"{state}/{key}", container_ports(obj))
        place = Place(address, str(directory.root), self._settings.environment)
        settings = self._settings
        around = Surroundings(self.processes, settings.now, settings.sleep, self._wake.set, self._find)
        pod = Pod(obj, directory, place, around)
        task = group.create_task(pod.run(state / "logs" / f"{key.namespace}.{key.name}"))
        self._pods[key] = (pod, task)
        task.add_done_callback(lambda _: self._ended(key))

    def _find(self, key: Key) -> Object | None:
        return self._objects.get(key)

    def _ended(self, key: Key) -> None:
        self._pods.pop(key, None)
        self._written.pop(key, None)
        self._wake.set()

    async def _advance(self, key: Key, owner: Object) -> None:
        pods = [obj for _, obj in self._of(POD) if is_controlled(obj, owner["metadata"]["uid"])]
        ending = {k.name for k, (_, task) in self._pods.items() if k.namespace == key.namespace and task.cancelling()}
        for step in sets.steps(owner, pods, ending):
            await self._take(step)
        status = sets.set_status(owner, pods)
        if status != owner.get("status"):
            await self._apply_status(key, status)

    async def _take(self, step: sets.Create | sets.Delete) -> None:
        with suppress(KubeExists):
            if isinstance(step, sets.Delete):
                await self._delete(step.key, step.uid)
            else:
                root = PodDirectory(self._path(key_of(step.body)), self._settings.state).root
                await self._kube.create(annotated(step.body, {ROOT_ANNOTATION: str(root)}))

    async def _delete(self, key: Key, uid: str) -> None:
        with suppress(KubeNotFound, KubeConflict):
            await self._kube.delete(key, uid=uid)

    async def _write_statuses(self) -> None:
        for key, (pod, task) in list(self._pods.items()):
            status = pod.status()
            if status == self._written.get(key) or task.cancelling():
                continue
            await self._apply_status(key, status)
            self._written[key] = status

    async def _apply_status(self, key: Key, status: Mapping[str, object]) -> None:
        body = {
            "apiVersion": key.kind.api_version,
            "kind": key.kind.kind,
            "metadata": {"name": key.name, "namespace": key.namespace},
            "status": status,
        }
        with suppress(KubeNotFound, KubeConflict):
            await self._kube.apply_status(body, manager=MANAGER, force=True)

    def _path(self, key: Key) -> Path:
        return self._settings.state / "pods" / f"{key.namespace}.{key.name}"

    def _drop_directories(self) -> None:
        """Removes what belongs to no pod any more."""
        wanted = {self._path(key) for key, _ in self._of(POD)} | {self._path(key) for key in self._pods}
        for path in (self._settings.state / "pods").glob("*"):
            if path not in wanted:
                shutil.rmtree(path, ignore_errors=True)


def annotated(body: Object, annotations: Mapping[str, str]) -> Object:
    metadata = body["metadata"]
    return {**body, "metadata": {**metadata, "annotations": {**(metadata.get("annotations") or {}), **annotations}}}


def free_address(name: str, ports: Sequence[int]) -> str:
    """A loopback address on which all `ports` are free: the same one for the same name, unless somebody has it."""
    start = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    for step in range(ADDRESS_TRIES):
        number = (start + step) % ADDRESSES
        address = f"127.{64 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"
        if number & 255 not in (0, 255) and all(can_bind(address, port) for port in ports):
            return address
    raise KubeError(f"no free loopback address for {name} with ports {list(ports)}: {ADDRESS_TRIES} are taken")


def can_bind(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True
