import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from forebay_operator.runtime.container import Place
from forebay_operator.runtime.controller import free_address
from forebay_operator.runtime.pod import Pod, Surroundings, restart_delay
from forebay_operator.runtime.process import Processes
from forebay_operator.runtime.volumes import PodDirectory

SERVER = """
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        good = os.path.exists(os.environ["FOREBAY_ROOT"] + self.path)
        self.send_response(200 if good else 503); self.end_headers()
    def log_message(self, *a): pass
http.server.HTTPServer((os.environ["IP"], 7450), Handler).serve_forever()
"""


class Clock:
    """Time that passes only in `sleep`: at once, and remembered."""

    def __init__(self) -> None:
        self.time = 1e9
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds
        await asyncio.sleep(0.01)


class Bench:
    """A pod under test; `until` waits for a status that fits."""

    def __init__(self, tmp_path: Path, spec: Mapping[str, Any]) -> None:
        self.clock, self.changed = Clock(), asyncio.Event()
        obj = {"metadata": {"name": "p", "namespace": "ns", "uid": "u"}, "spec": {"containers": [spec]}}
        around = Surroundings(
            Processes(tmp_path / "records"), self.clock.now, self.clock.sleep, self.changed.set, lambda _: None
        )
        directory = PodDirectory(tmp_path / "pod", tmp_path / "claims")
        place = Place(free_address(str(tmp_path), [7450]), str(directory.root), {"PATH": os.environ["PATH"]})
        self.root = directory.root
        self.pod = Pod({**obj}, directory, place, around)
        self.task = asyncio.create_task(self.pod.run(tmp_path / "logs"))

    async def until(self, fits: Callable[[Mapping[str, Any]], bool]) -> Mapping[str, Any]:
        async with asyncio.timeout(20):
            while not fits(status := self.pod.status()["containerStatuses"][0]):
                self.changed.clear()
                waiter = asyncio.create_task(self.changed.wait())
                await asyncio.wait({waiter, self.task}, return_when=asyncio.FIRST_COMPLETED)
                waiter.cancel()
                assert not self.task.done(), self.task
        return dict(status)

    async def stop(self) -> None:
        self.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self.task


def test_back_off_doubles_up_to_its_limit() -> None:
    assert [restart_delay(n) for n in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]


async def test_a_container_that_ends_is_restarted_with_back_off(tmp_path: Path) -> None:
    bench = Bench(tmp_path, {"name": "c", "command": ["python", "-I", "-S", "-c", "raise SystemExit(7)"]})
    status = await bench.until(lambda s: s["restartCount"] == 3)
    await bench.stop()
    assert bench.clock.slept[:3] == [1, 2, 4]
    assert status["lastState"]["terminated"]["exitCode"] == 7


async def test_stop_ends_the_process_and_keeps_its_log(tmp_path: Path) -> None:
    body = (
        "import signal,sys,time; signal.signal(15, lambda *a: sys.exit(print('drained'))); print('up'); time.sleep(60)"
    )
    bench = Bench(tmp_path, {"name": "c", "command": ["python", "-u", "-c", body]})
    assert (await bench.until(lambda s: "running" in s["state"]))["ready"] is True
    async with asyncio.timeout(10):
        while "up" not in (tmp_path / "logs/c.log").read_text():
            await asyncio.sleep(0.01)
    await bench.stop()
    assert (tmp_path / "logs/c.log").read_text() == "up\ndrained\n"
    assert not list((tmp_path / "records").iterdir())


async def test_readiness_follows_its_probe_and_liveness_restarts(tmp_path: Path) -> None:
    def probe(path: str) -> dict[str, Any]:
        return {"httpGet": {"path": path, "port": 7450}, "failureThreshold": 1, "periodSeconds": 1}

    bench = Bench(
        tmp_path,
        {
            "name": "c",
            "command": ["python", "-c", SERVER],
            "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
            "readinessProbe": probe("/ready"),
            "livenessProbe": {**probe("/alive"), "failureThreshold": 100},
        },
    )
    await bench.until(lambda s: "running" in s["state"] and not s["ready"])
    for name in ("alive", "ready"):
        (bench.root / name).touch()
    await bench.until(lambda s: s["ready"])
    (bench.root / "ready").unlink()
    await bench.until(lambda s: not s["ready"])
    (bench.root / "alive").unlink()
    status = await bench.until(lambda s: s["restartCount"] == 1)
    await bench.stop()
    assert status["lastState"]["terminated"]["signal"] == 15


async def test_what_a_pod_lacks_is_in_its_status(tmp_path: Path) -> None:
    bench = Bench(tmp_path, {"name": "c", "args": ["x"]})
    status = await bench.until(lambda s: bool(s["lastState"]))
    await bench.stop()
    assert "no command" in status["lastState"]["terminated"]["message"]
