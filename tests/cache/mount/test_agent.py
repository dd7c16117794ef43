"""The agent as a process of its own: its API, its end, its crash; and a member that dies under a mount."""

import contextlib
import errno
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cache.mount.conftest import litter, loops, wait_until, workers_of

from forebay_cache.mount import syscalls

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("can_mount")]

ROOT = Path(__file__).parents[3]
AGENT = """
import asyncio, signal, sys
from forebay_cache.contract.agent import AgentConfig
from forebay_cache.mount.agent import run_agent

async def main():
    task = asyncio.ensure_future(run_agent(AgentConfig.model_validate_json(sys.argv[1])))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        pass

asyncio.run(main())
"""
SIZE = 3 << 20
DEADLINE_S = 1.0


def content(number: int) -> bytes:
    return random.Random(number).randbytes(SIZE)


class Agent:
    """An agent process and its API."""

    def __init__(self, folder: Path) -> None:
        self.socket = str(folder / "agent.sock")
        config = {"socket": self.socket, "state_path": str(folder / "state"), "deadline_s": DEADLINE_S}
        self.process = subprocess.Popen([sys.executable, "-c", AGENT, json.dumps(config)], stderr=subprocess.PIPE)
        wait_until(lambda: self.process.poll() is not None or self.answers())

    def answers(self) -> bool:
        try:
            return self.ask("GET", "/healthz")[0] == self.ask("GET", "/readyz")[0] == 200
        except OSError:
            return False

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, str]:
        connection = http.client.HTTPConnection("agent", timeout=30)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(30)
        with contextlib.closing(connection):
            connection.sock.connect(self.socket)
            connection.request(method, path, json.dumps(body) if body is not None else None)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def mount(self, member: "Member", place: Path, **other: str) -> tuple[int, Any]:
        body = {
            "cluster_uid": "c",
            "dataset_uid": "d",
            "commit": member.commit,
            "target": str(place),
            "member_socket": member.socket,
        }
        status, text = self.ask("POST", "/v1/mounts", body | other)
        return status, json.loads(text)

    def end(self, number: signal.Signals) -> str:
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=30)
        return errors.decode()


class Member:
    """A member process over the directory of this test."""

    def __init__(self, folder: Path) -> None:
        self.socket = str(folder / "member/node.sock")
        command = [sys.executable, "-m", "tests.rigs.nodemember", str(folder / "origin"), str(folder / "member")]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert self.process.stdout is not None
        self.commit = self.process.stdout.readline().strip()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=10)


@pytest.fixture
def folder(tmp_path: Path, house: Path, member: Member) -> Iterator[Path]:
    """An agent's; nothing of its mounts is left when the test is over."""
    before = litter(tmp_path, house)
    yield tmp_path
    wait_until(lambda: litter(tmp_path, house) <= before)
    assert litter(tmp_path, house) <= before


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A member's."""
    house = tmp_path_factory.mktemp("house")
    (house / "origin").mkdir()
    for number in range(4):
        (house / f"origin/file{number}").write_bytes(content(number))
    return house


@pytest.fixture(scope="module")
def member(house: Path) -> Iterator[Member]:
    one = Member(house)
    yield one
    one.end()


@pytest.fixture
def agent(folder: Path) -> Iterator[Agent]:
    one = Agent(folder)
    yield one
    one.end(signal.SIGTERM)


def test_the_api_mounts_lists_and_unmounts(agent: Agent, member: Member, folder: Path) -> None:
    target = folder / "mnt"
    status, mount = agent.mount(member, target)
    assert status == 200
    assert mount == {"cluster_uid": "c", "dataset_uid": "d", "commit": member.commit, "target": str(target)}
    assert agent.mount(member, target) == (200, mount)
    assert json.loads(agent.ask("GET", "/v1/mounts")[1]) == {"mounts": [mount]}
    assert (target / "file1").read_bytes() == content(1)
    metrics = agent.ask("GET", "/metrics")[1]
    assert "forebay_mounts 1.0" in metrics
    assert 'forebay_mount_reads_total{result="miss"}' in metrics
    assert "forebay_mount_read_seconds_bucket" in metrics
    assert agent.ask("POST", "/v1/unmount", {"target": str(target)})[0] == 204
    assert agent.ask("POST", "/v1/unmount", {"target": str(target)})[0] == 204
    assert not target.exists()
    assert "forebay_mounts 0.0" in agent.ask("GET", "/metrics")[1]


def test_errors_have_their_status_and_reason(agent: Agent, member: Member, folder: Path) -> None:
    full = folder / "full"
    (full / "something").mkdir(parents=True)
    cases: list[tuple[dict[str, str], int, str]] = [
        ({"target": "relative"}, 400, "BadInput"),
        ({"commit": "short"}, 400, "BadInput"),
        ({"commit": "0" * 64}, 404, "NotFound"),
        ({"target": str(full)}, 409, "TargetInUse"),
        ({"member_socket": str(folder / "nobody")}, 503, "MemberUnreachable"),
    ]
    for change, status, reason in cases:
        found, body = agent.mount(member, folder / "mnt", **change)
        assert (found, body["reason"]) == (status, reason)
        assert body["message"]
    assert agent.ask("POST", "/v1/mounts", {"target": "/x"})[0] == 400
    assert agent.ask("GET", "/nothing")[0] == 404
    assert not (folder / "mnt").exists()


def test_its_socket_is_for_root_alone(agent: Agent) -> None:
    assert os.stat(agent.socket).st_mode & 0o777 == 0o600


def test_its_end_unmounts_everything_also_what_is_in_use(member: Member, folder: Path) -> None:
    agent = Agent(folder)
    for name in ("a", "b"):
        assert agent.mount(member, folder / name)[0] == 200
    with open(folder / "a/file0", "rb") as file:
        file.read(10)
        agent.end(signal.SIGTERM)
        assert agent.process.returncode == 0
        assert not mounted_below(folder)
        with pytest.raises(OSError, match="Input/output error"):
            os.pread(file.fileno(), 4096, 2 << 20)  # never read, and nobody left to ask
    assert not os.path.exists(agent.socket)


def test_after_a_crash_the_next_agent_cleans_up(member: Member, folder: Path, house: Path) -> None:
    agent = Agent(folder)
    target, kept = folder / "mnt", folder / "kept"
    kept.mkdir()
    for one in (target, kept):
        assert agent.mount(member, one)[0] == 200
    assert loops(house)
    workers = workers_of(agent.process.pid)
    agent.end(signal.SIGKILL)
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in workers))
    with pytest.raises(OSError, match="Input/output error"):
        (target / "file0").read_bytes()
    with open(kept / "file0", "rb"):  # in use: it leaves the tree all the same
        Agent(folder).end(signal.SIGTERM)
        assert not mounted_below(folder)
    assert not target.exists()
    assert kept.exists()
    wait_until(lambda: not loops(house))
    assert not loops(house)


def test_what_is_not_ours_is_left_alone(member: Member, folder: Path) -> None:
    agent = Agent(folder)
    target = folder / "mnt"
    assert agent.mount(member, target)[0] == 200
    agent.end(signal.SIGKILL)
    syscalls.unmount(str(target))
    subprocess.run(["mount", "-t", "tmpfs", "other", str(target)], check=True, timeout=10)
    try:
        Agent(folder).end(signal.SIGTERM)
        assert os.path.ismount(target)
    finally:
        subprocess.run(["umount", str(target)], check=True, timeout=10)


def test_a_second_agent_with_the_same_state_is_refused(agent: Agent, folder: Path) -> None:
    config = {"socket": str(folder / "other.sock"), "state_path": str(folder / "state")}
    command = [sys.executable, "-c", AGENT, json.dumps(config)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode != 0
    assert "another agent runs" in second.stderr
    assert agent.answers()


def test_a_dead_member_gives_an_error_in_time_and_its_return_heals(agent: Agent, house: Path, folder: Path) -> None:
    (folder / "origin").symlink_to(house / "origin")
    member, target = Member(folder), folder / "mnt"
    assert agent.mount(member, target)[0] == 200
    member.end()
    started = time.monotonic()
    with pytest.raises(OSError, match="Input/output error") as caught:
        (target / "file2").read_bytes()
    assert caught.value.errno == errno.EIO
    assert time.monotonic() - started < 4 * DEADLINE_S  # read() may see the deadline more than once, never for ever
    member = Member(folder)
    try:
        wait_until(lambda: readable(target / "file2"))
        assert (target / "file2").read_bytes() == content(2)
    finally:
        member.end()


def mounted_below(folder: Path) -> list[str]:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return [line for line in lines if str(folder) in line and " erofs " in line]


def readable(path: Path) -> bool:
    try:
        path.read_bytes()
    except OSError:
        return False
    return True
