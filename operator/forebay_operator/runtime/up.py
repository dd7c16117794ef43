"""The whole house on one machine: dictionary, reconcile, pods, agent. `main` gives it its parts, `cli.up` shows it.

Rooms are opened from the outside in and closed from the inside out: the agent unmounts while members still answer, members
end before the dictionary closes, and the lock on the state directory goes last.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forebay_operator.kube.base import Kube
from forebay_operator.kube.socket import SOCKET, serve_kube
from forebay_operator.model import Object, StateInUse
from forebay_operator.runtime.container import Place
from forebay_operator.runtime.controller import Runtime, Settings
from forebay_operator.runtime.pod import Pod, Surroundings
from forebay_operator.runtime.process import Processes
from forebay_operator.runtime.volumes import PodDirectory

MANAGER = "forebay-up"
AGENT_SOCKET = "agent.sock"


@dataclass(frozen=True, slots=True)
class Parts:
    open_kube: Callable[[Path], AbstractAsyncContextManager[Kube]]
    """A Kube whose objects are kept in a directory."""
    operate: Callable[[Kube], Coroutine[Any, Any, None]]
    """The operator: reconciles until cancelled."""
    agent: Callable[[Path], Object] | None
    """Pod that serves AGENT_SOCKET in a state directory; None where mounts are left out."""


@asynccontextmanager
async def up(manifests: Sequence[Object], settings: Settings, parts: Parts) -> AsyncIterator[Kube]:
    """Applies `manifests` and runs what they ask for until left. Raises StateInUse; KubeInvalid before anything starts."""
    with locked(settings.state):
        async with parts.open_kube(settings.state / "objects") as kube:
            for manifest in manifests:
                await kube.apply(manifest, manager=MANAGER, force=True)
            runtime = Runtime(kube, settings)
            await runtime.begin()
            async with (
                serve_kube(kube, settings.state / SOCKET),
                beside(runtime.run()),
                beside(parts.operate(kube)),
                agent(runtime, settings, parts),
            ):
                yield kube


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """`work` runs until the block is left; if it fails, the block is cancelled and its error raised."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work)
        try:
            yield
        finally:
            task.cancel()


def agent(runtime: Runtime, settings: Settings, parts: Parts) -> AbstractAsyncContextManager[None]:
    """The agent as a pod of the machine's own, no object in the dictionary; its paths are the machine's."""
    if parts.agent is None:
        return nullcontext()
    directory = PodDirectory(settings.state / "agent", settings.state / "agent")
    around = Surroundings(runtime.processes, settings.now, settings.sleep, lambda: None, lambda _: None)
    pod = Pod(parts.agent(settings.state), directory, Place("127.0.0.1", "/", settings.environment), around)
    return beside(pod.run(settings.state / "logs" / "agent"))


@contextmanager
def locked(state: Path) -> Iterator[None]:
    """One `up` a state directory: a lock the kernel lets go however its holder dies."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        take(handle, state)
        yield
    finally:
        os.close(handle)


def take(handle: int, state: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise StateInUse(f"another `forebay up` has {state}: stop it, or choose another --state") from exc


def is_locked(state: Path) -> bool:
    """Whether an `up` that lives has the directory."""
    if not (state / "lock").exists():
        return False
    try:
        with locked(state):
            return False
    except StateInUse:
        return True


async def end_leftovers(state: Path) -> None:
    """Ends the processes of an `up` that was killed."""
    await Processes(state / "processes").end_orphans()
