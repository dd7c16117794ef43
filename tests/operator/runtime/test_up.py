import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.operator.runtime.test_controller import SET, ready, secret, stateful_set

from forebay_operator.kube.base import Kube
from forebay_operator.kube.journal import open_journal
from forebay_operator.kube.memory import MemoryKube
from forebay_operator.kube.socket import SOCKET, SocketKube
from forebay_operator.model import BadManifest, KubeError, Object, StateInUse
from forebay_operator.runtime import process
from forebay_operator.runtime.controller import Settings
from forebay_operator.runtime.up import Parts, is_locked, up

WAITS = (
    "import signal,sys,time; signal.signal(15, lambda *a: sys.exit(print('told', time.monotonic())));"
    "print('up'); time.sleep(99)"
)
STUBBORN = "import signal,time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(99)"


@pytest.fixture
def state() -> Iterator[Path]:
    """Short, for a socket is made in it."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@asynccontextmanager
async def dictionary(_: Path) -> AsyncIterator[Kube]:
    yield MemoryKube()


async def idle(_: Kube) -> None:
    await asyncio.Event().wait()


async def broken(_: Kube) -> None:
    raise KubeError("out of ideas")


def agent(_: Path) -> Object:
    container = {"name": "agent", "command": ["python", "-u", "-I", "-S", "-c", WAITS]}
    return {"metadata": {"name": "agent", "namespace": "f", "uid": "a"}, "spec": {"containers": [container]}}


def settings(state: Path) -> Settings:
    return Settings(state, {"PATH": os.environ["PATH"]}, time.time, asyncio.sleep)


async def running(state: Path) -> None:
    """Through the socket, as the CLI looks."""
    kube = SocketKube(state / SOCKET)
    async with asyncio.timeout(20):
        while not ready(1)(await kube.get(SET)):
            await asyncio.sleep(0.02)


async def line(log: Path, word: str) -> str:
    async with asyncio.timeout(20):
        while not log.exists() or word not in log.read_text():
            await asyncio.sleep(0.02)
    return next(text for text in log.read_text().splitlines() if word in text)


async def test_the_agent_is_told_to_stop_before_the_members_and_nothing_is_left(state: Path) -> None:
    manifests = [secret("x"), stateful_set(1, body="import sys; sys.stdout.reconfigure(line_buffering=True); " + WAITS)]
    async with up(manifests, settings(state), Parts(dictionary, idle, agent)):
        await running(state)
        await line(state / "logs/ns.t-0/c.log", "up")
        await line(state / "logs/agent/agent.log", "up")
    told = [float((await line(state / "logs" / log, "told")).split()[1]) for log in ("agent/agent.log", "ns.t-0/c.log")]
    assert told == sorted(told)
    assert not list((state / "processes").iterdir())
    assert not (state / SOCKET).exists()
    assert not is_locked(state)


async def test_a_state_directory_has_one_up(state: Path) -> None:
    async with up([], settings(state), Parts(dictionary, idle, None)):
        assert is_locked(state)
        with pytest.raises(StateInUse, match="choose another --state"):
            async with up([], settings(state), Parts(dictionary, idle, None)):
                pass
    assert not is_locked(state)


async def test_a_wrong_manifest_starts_nothing(state: Path) -> None:
    with pytest.raises(BadManifest):
        async with up([{"kind": "Deployment"}], settings(state), Parts(dictionary, idle, agent)):
            pass
    assert not (state / SOCKET).exists()
    assert not (state / "logs").exists()


async def test_an_operator_that_fails_takes_the_house_down(state: Path) -> None:
    with pytest.raises(ExceptionGroup) as met:
        async with up([], settings(state), Parts(dictionary, broken, None)):
            await asyncio.sleep(10)
    assert met.group_contains(KubeError, match="out of ideas", depth=None)
    assert not is_locked(state)


async def test_the_next_up_ends_what_a_killed_one_left_and_goes_on(state: Path) -> None:
    """The objects are in the journal, the claim on the disk; the old process ignores SIGTERM."""
    program = f"""
import asyncio, os, signal
from pathlib import Path
from tests.operator.runtime import test_up as t
from tests.operator.runtime.test_controller import secret, stateful_set
async def main():
    state = Path({str(state)!r})
    manifests = [secret("x"), stateful_set(1, body={STUBBORN!r}, grace_s=1)]
    async with t.up(manifests, t.settings(state), t.Parts(t.journalled, t.idle, None)):
        await t.line(state / "logs/ns.t-0/c.log", "up")
        os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, cwd=root, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    (record,) = (state / "processes").iterdir()
    left, started = int(record.name), process.start_time(int(record.name))
    assert process.group_alive(left, started)
    async with up([stateful_set(1)], settings(state), Parts(journalled, idle, None)):
        await running(state)
        assert not process.group_alive(left, started)


@asynccontextmanager
async def journalled(folder: Path) -> AsyncIterator[Kube]:
    journal = open_journal(folder)
    yield MemoryKube(durable=journal)
    journal.close()
