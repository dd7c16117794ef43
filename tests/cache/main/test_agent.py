"""The agent as a pod starts it: its beginning and its end; what it does between them is tested in tests/cache/mount."""

import http.client
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

from forebay_cache.mount.support import missing_part

pytestmark = pytest.mark.root


@pytest.fixture
def folder() -> Iterator[pathlib.Path]:
    """Short: a socket is made in it."""
    if reason := missing_part():
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="fb", dir="/var/tmp") as name:
        made = pathlib.Path(name)
        config = {"socket": f"{made}/agent.sock", "state_path": f"{made}/state"}
        (made / "agent.json").write_text(json.dumps(config))
        yield made


def spawn(folder: pathlib.Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "forebay_cache.main", "agent", "--config", "/agent.json"]
    log = open(folder / "agent.log", "wb")  # noqa: SIM115 - the process has it
    with log:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command], stdout=log, stderr=log, env=environment(folder), cwd=folder
        )


def healthy(folder: pathlib.Path) -> bool:
    line = http.client.HTTPConnection("agent", timeout=60)
    with closing(line), closing(socket.socket(socket.AF_UNIX)) as line.sock:
        try:
            line.sock.connect(str(folder / "agent.sock"))
            line.request("GET", "/healthz")
            return line.getresponse().status == 200
        except OSError:
            return False


@pytest.fixture
def running(folder: pathlib.Path) -> Iterator["subprocess.Popen[bytes]"]:
    process = spawn(folder)
    wait_until(lambda: process.poll() is not None or healthy(folder), "the agent answers")
    yield process
    if process.poll() is None:
        process.kill()
        process.wait(60)


def test_it_answers_and_ends_cleanly(running: "subprocess.Popen[bytes]", folder: pathlib.Path) -> None:
    assert (folder / "agent.sock").stat().st_mode & 0o777 == 0o600
    running.send_signal(signal.SIGTERM)
    assert running.wait(60) == 0
    assert not os.path.exists(folder / "agent.sock")
    told = [json.loads(line) for line in (folder / "agent.log").read_text().splitlines()]
    assert [record["event"] for record in told] == ["serving"]


def test_after_a_kill_the_next_one_has_its_place(running: "subprocess.Popen[bytes]", folder: pathlib.Path) -> None:
    running.kill()
    running.wait(60)
    assert os.path.exists(folder / "agent.sock")
    process = spawn(folder)
    wait_until(lambda: process.poll() is not None or healthy(folder), "the next agent answers")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def test_a_second_one_is_refused_in_one_line(running: "subprocess.Popen[bytes]", folder: pathlib.Path) -> None:
    second = spawn(folder)
    assert second.wait(60) == 1
    (line,) = (folder / "agent.log").read_text().splitlines()
    assert line.startswith("forebay agent: ")
    assert f"{folder}/state" in line
    assert healthy(folder)


@pytest.mark.parametrize(
    ("document", "says"),
    [(None, "No such file"), ("{", "JSON"), ('{"socket": "/x"}', "state_path"), ('{"socket": 5}', "socket")],
)
def test_a_broken_configuration_is_one_line(folder: pathlib.Path, document: str | None, says: str) -> None:
    (folder / "agent.json").unlink() if document is None else (folder / "agent.json").write_text(document)
    assert spawn(folder).wait(60) == 1
    (line,) = (folder / "agent.log").read_text().splitlines()
    assert line.startswith(f"forebay agent: {folder}/agent.json: ")
    assert says in line
