"""The CSI node as a pod starts it: its beginning and its end; what it does between them is tested in tests/cache/csi."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing

import pytest
from tests.rigs.house import environment, wait_until

from forebay_cache.contract.volume import DRIVER

Process = subprocess.Popen[bytes]


@pytest.fixture
def folder() -> Iterator[pathlib.Path]:
    """Short: sockets are made in it."""
    with tempfile.TemporaryDirectory(prefix="fb", dir="/var/tmp") as name:
        made = pathlib.Path(name)
        write(made)
        yield made


def write(folder: pathlib.Path, **change: object) -> None:
    document = {"kubelet_dir": f"{folder}/k", "agent_socket": f"{folder}/agent.sock", "state_path": f"{folder}/state"}
    (folder / "csi.json").write_text(json.dumps(document | change))


def spawn(folder: pathlib.Path, node: str = "node-1") -> Process:
    command = [sys.executable, "-m", "forebay_cache.main", "csi", "--config", "/csi.json"]
    with open(folder / "csi.log", "wb") as log:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command],
            stdout=log,
            stderr=log,
            env=environment(folder, NODE_NAME=node),
            cwd=folder,
        )


def sockets(folder: pathlib.Path) -> list[pathlib.Path]:
    return [folder / f"k/plugins_registry/{DRIVER}-reg.sock", folder / f"k/plugins/{DRIVER}/csi.sock"]


def listens(folder: pathlib.Path) -> bool:
    with closing(socket.socket(socket.AF_UNIX)) as line:
        try:
            line.connect(str(sockets(folder)[0]))  # the last that it makes
        except OSError:
            return False
        return True


@pytest.fixture
def running(folder: pathlib.Path) -> Iterator[Process]:
    process = spawn(folder)
    wait_until(lambda: process.poll() is not None or listens(folder), "the driver listens")
    yield process
    if process.poll() is None:
        process.kill()
        process.wait(60)


def said(folder: pathlib.Path) -> str:
    """What it ended with: one line for people."""
    (line,) = (folder / "csi.log").read_text().splitlines()
    assert line.startswith("forebay csi: ")
    return line


def test_it_listens_without_an_agent_and_ends_cleanly(running: Process, folder: pathlib.Path) -> None:
    assert [path.stat().st_mode & 0o777 for path in sockets(folder)] == [0o600, 0o600]
    running.send_signal(signal.SIGTERM)
    assert running.wait(60) == 0
    assert not any(map(os.path.exists, sockets(folder)))
    events = [json.loads(line)["event"] for line in (folder / "csi.log").read_text().splitlines()]
    assert events == ["serving", "mounts are not looked after"]


def test_after_a_kill_the_next_one_has_its_place(running: Process, folder: pathlib.Path) -> None:
    running.kill()
    running.wait(60)
    assert all(map(os.path.exists, sockets(folder)))
    process = spawn(folder)
    wait_until(lambda: process.poll() is not None or listens(folder), "the next driver listens")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def test_a_second_one_is_refused(running: Process, folder: pathlib.Path) -> None:
    assert spawn(folder).wait(60) == 1
    assert f"another CSI node runs with {folder}/state" in said(folder)
    assert listens(folder)


def test_a_node_without_a_name_is_refused(folder: pathlib.Path) -> None:
    assert spawn(folder, node="").wait(60) == 1
    assert "spec.nodeName" in said(folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kubelet_dir": "relative"}, "csi.json: kubelet_dir: "),
        ({"heal_s": 0}, "csi.json: heal_s: "),
        ({"kubelet_dir": f"/var/tmp/{'long' * 30}"}, "more than the 107 bytes"),
        ({"kubelet_dir": "/proc/nothing"}, "kubelet_dir: /proc/nothing"),
        ({"state_path": "/proc/nothing"}, "state_path: /proc/nothing"),
    ],
)
def test_a_wrong_configuration_is_one_line(folder: pathlib.Path, change: dict[str, object], says: str) -> None:
    write(folder, **change)
    assert spawn(folder).wait(60) == 1
    assert says in said(folder)
