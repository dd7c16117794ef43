"""One pod: its containers as processes, restarted with back-off, probed, and its status. Cancel `run` to stop it."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from forebay_operator.model import BadManifest, Object
from forebay_operator.runtime import container as meaning
from forebay_operator.runtime.probe import Probe, Sleep, read_probe, verdicts
from forebay_operator.runtime.process import Command, Process, Processes
from forebay_operator.runtime.volumes import Find, PodDirectory

FIRST_RESTART_S, LAST_RESTART_S = 1.0, 30.0
STEADY_S = 60.0
RETRY_S = 1.0
MESSAGE_BYTES = 512


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all pods share."""

    processes: Processes
    now: Callable[[], float]
    sleep: Sleep
    changed: Callable[[], None]
    """Called after every change of a pod's status."""
    find: Find


@dataclass(slots=True)
class ContainerState:
    """As a Pod's containerStatuses show it."""

    state: Mapping[str, Any]
    last: Mapping[str, Any] = field(default_factory=dict)
    ready: bool = False
    restarts: int = 0
    in_row: int = 0
    """Restarts since it last ran for STEADY_S."""


def restart_delay(in_row: int) -> float:
    """Back-off before restart number `in_row` of a row, counted from 1."""
    return min(FIRST_RESTART_S * 2.0 ** (in_row - 1), LAST_RESTART_S)


class Pod:
    """Runs one Pod object. Whoever awaits `run` owns it."""

    def __init__(self, obj: Object, directory: PodDirectory, place: meaning.Place, around: Surroundings) -> None:
        self.obj = obj
        self.directory = directory
        self._place = place
        self._around = around
        self._started = stamp(around.now())
        self._ready_since = self._started
        self._was_ready = False
        self._processes: dict[str, Process] = {}
        creating = waiting("ContainerCreating", "")
        self._states = {c["name"]: ContainerState(creating) for c in obj["spec"]["containers"]}

    async def run(self, logs: Path) -> None:
        """Runs until cancelled; then SIGTERM, and SIGKILL after the pod's grace period. Leaves no process."""
        await self._prepare()
        await asyncio.to_thread(logs.mkdir, 0o700, parents=True, exist_ok=True)
        async with asyncio.TaskGroup() as group:
            for container in self.obj["spec"]["containers"]:
                group.create_task(self._keep(container, logs / f"{container['name']}.log"))

    def refresh(self) -> None:
        """Brings the files of ConfigMaps and Secrets up to date, as far as these can be found, and cuts long logs."""
        for process in self._processes.values():
            process.trim_log()
        try:
            self.directory.refresh(self.obj, self._around.find)
        except BadManifest:
            return  # a running pod keeps the files it has

    async def _prepare(self) -> None:
        while True:
            try:
                self.directory.prepare(self.obj, self._around.find)
            except (BadManifest, OSError) as exc:
                for state in self._states.values():
                    state.state = waiting("CreateContainerConfigError", str(exc))
                self._around.changed()
                await self._around.sleep(RETRY_S)
            else:
                return

    async def _keep(self, container: Mapping[str, Any], log: Path) -> None:
        state, around = self._states[container["name"]], self._around
        while True:
            began = around.now()
            ended = await self._once(container, log)
            state.in_row = 1 if around.now() - began >= STEADY_S else state.in_row + 1
            delay = restart_delay(state.in_row)
            state.last, state.ready = ended, False
            state.state = waiting("CrashLoopBackOff", f"back-off {delay:g} s; the log is {log}")
            around.changed()
            await around.sleep(delay)
            state.restarts += 1

    async def _once(self, container: Mapping[str, Any], log: Path) -> Mapping[str, Any]:
        """One life of the container, from start to end. Returns its last state."""
        began = stamp(self._around.now())
        try:
            env = meaning.environment(container, self.obj, self._place)
            argv = meaning.command(container, env)
            readiness, liveness = (read_probe(container, name) for name in ("readinessProbe", "livenessProbe"))
            process = await self._around.processes.start(Command(argv, env, self.directory.root, log))
        except (BadManifest, OSError) as exc:
            return terminated(began, stamp(self._around.now()), 128, str(exc))
        state = self._states[container["name"]]
        state.state, state.ready = {"running": {"startedAt": began}}, readiness is None
        self._processes[container["name"]] = process
        self._around.changed()
        code = await self._watch(process, state, readiness, liveness)
        return terminated(began, stamp(self._around.now()), code, last_line(log) if code else "")

    async def _watch(self, process: Process, state: ContainerState, ready: Probe | None, alive: Probe | None) -> int:
        """Exit code. Probes run beside the process; cancelling stops both."""
        probes = [asyncio.create_task(self._follow_readiness(ready, state))] if ready else []
        probes += [asyncio.create_task(self._follow_liveness(alive, process))] if alive else []
        try:
            return await process.wait()
        except asyncio.CancelledError:
            state.ready = False
            await process.stop(self._grace_s)
            raise
        finally:
            for probe in probes:
                probe.cancel()
            await asyncio.gather(*probes, return_exceptions=True)

    async def _follow_readiness(self, probe: Probe, state: ContainerState) -> None:
        async for good in verdicts(probe, self._place.address, self._around.sleep):
            state.ready = good
            self._around.changed()

    async def _follow_liveness(self, probe: Probe, process: Process) -> None:
        async for good in verdicts(probe, self._place.address, self._around.sleep):
            if not good:
                await process.stop(self._grace_s)

    @property
    def _grace_s(self) -> float:
        return float(self.obj["spec"].get("terminationGracePeriodSeconds", 30))

    def status(self) -> Mapping[str, Any]:
        """The Pod's status now."""
        ready = all(state.ready for state in self._states.values())
        if ready != self._was_ready:
            self._was_ready, self._ready_since = ready, stamp(self._around.now())
        running = any("running" in s.state or s.last for s in self._states.values())
        common = {"status": "True" if ready else "False", "lastTransitionTime": self._ready_since}
        return {
            "phase": "Running" if running else "Pending",
            "startTime": self._started,
            "hostIP": "127.0.0.1",
            "podIP": self._place.address,
            "podIPs": [{"ip": self._place.address}],
            "conditions": [{"type": name, **common} for name in ("ContainersReady", "Ready")],
            "containerStatuses": [container_status(name, state) for name, state in self._states.items()],
        }


def container_status(name: str, state: ContainerState) -> Mapping[str, Any]:
    return {
        "name": name,
        "image": "",
        "imageID": "",
        "ready": state.ready,
        "started": "running" in state.state,
        "restartCount": state.restarts,
        "state": state.state,
        "lastState": state.last,
    }


def waiting(reason: str, message: str) -> Mapping[str, Any]:
    return {"waiting": {"reason": reason, **({"message": message} if message else {})}}


def terminated(began: str, ended: str, code: int, message: str) -> Mapping[str, Any]:
    """`code` negative: killed by that signal, which Kubernetes writes as 128 + signal."""
    how = {"exitCode": 128 - code, "signal": -code} if code < 0 else {"exitCode": code}
    reason = "Completed" if code == 0 else "Error"
    return {
        "terminated": {
            **how,
            "reason": reason,
            "startedAt": began,
            "finishedAt": ended,
            **({"message": message} if message else {}),
        }
    }


def last_line(log: Path) -> str:
    """What a process said last, for its status; it says no secret."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - MESSAGE_BYTES))
        lines = file.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
