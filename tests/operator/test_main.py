"""The whole product by its own command: a directory as origin, real members, the agent where there is root."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from forebay_operator.main import KeyValues, mounts_left_out

FOREBAY = [sys.executable, "-c", "from forebay_operator.main import run; run()"]
DEADLINE_S = 60
MANIFESTS = """
apiVersion: forebay.dev/v1alpha1
kind: CacheCluster
metadata: {{name: main}}
spec: {{storage: {{capacity: 1Gi, emptyDir: {{}}}}}}
---
apiVersion: forebay.dev/v1alpha1
kind: Dataset
metadata: {{name: photos}}
spec:
  clusterRef: {{name: main}}
  sources: [{{name: folder, directory: {{path: {origin}}}}}]
"""


class House:
    """`forebay up` as a process, in a state directory of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state, self.origin = folder, folder / "s", folder / "origin"
        (self.origin / "a").mkdir(parents=True)
        for number in range(20):
            (self.origin / "a" / f"{number}.bin").write_bytes(os.urandom(10_000 + number))
        (self.origin / "big.bin").write_bytes(os.urandom(9 << 20))
        (folder / "m.yaml").write_text(MANIFESTS.format(origin=self.origin))
        self.environment = {**os.environ, "FOREBAY_STATE": str(self.state)}
        self.start()

    def start(self) -> None:
        arguments = ["up", "-f", str(self.folder / "m.yaml"), "--state", str(self.state)]
        self.process = subprocess.Popen(
            [*FOREBAY, *arguments], env=self.environment, stderr=subprocess.PIPE, text=True, bufsize=1
        )

    def until(self, pattern: str) -> None:
        """Reads what it tells until a line fits; after the deadline it is killed, and what it told is shown."""
        assert self.process.stderr
        told = []
        killer = threading.Timer(DEADLINE_S, self.process.kill)
        killer.start()
        try:
            for line in self.process.stderr:
                told.append(line)
                if re.search(pattern, line):
                    return
        finally:
            killer.cancel()
        raise AssertionError("".join(told) + self.logs())

    def logs(self) -> str:
        return "".join(f"\n{path}:\n{path.read_text()[-2000:]}" for path in (self.state / "logs").rglob("*.log"))

    def run(self, *argv: str) -> str:
        done = subprocess.run(
            [*FOREBAY, *argv], check=False, env=self.environment, capture_output=True, text=True, timeout=DEADLINE_S
        )
        assert done.returncode == 0, done.stderr + self.logs()
        return done.stdout

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        assert self.process.stderr
        self.process.stderr.read()
        self.process.stderr.close()
        return self.process.wait(DEADLINE_S)

    def left(self) -> list[str]:
        """Processes and mounts that still know the state directory."""
        commands = [
            path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            for path in Path("/proc").glob("[0-9]*/cmdline")
            if not is_gone(path)
        ]
        mounts = Path("/proc/self/mounts").read_text().splitlines()
        return [line for line in [*commands, *mounts] if str(self.folder) in line]


def is_gone(path: Path) -> bool:
    try:
        return not path.read_bytes()
    except OSError:
        return True


@pytest.fixture
def house() -> Iterator[House]:
    with tempfile.TemporaryDirectory(prefix="fb", dir="/var/tmp") as name:  # short, and on a disk
        made = House(Path(name))
        try:
            yield made
        finally:
            if made.process.poll() is None:
                made.stop()


def same(folder: Path, origin: Path) -> bool:
    return all((folder / p.relative_to(origin)).read_bytes() == p.read_bytes() for p in origin.rglob("*.bin"))


def test_a_directory_is_read_through_the_cache_and_nothing_is_left(house: House) -> None:
    house.until("Dataset photos: ready")
    house.run("get", "photos", "/", "--to", str(house.folder / "got"))
    assert same(house.folder / "got", house.origin)
    shown = json.loads(house.run("status", "-o", "json"))
    assert shown["datasets"][0]["files"] == 21
    assert shown["members"][0]["ready"] is True
    (house.origin / "new.txt").write_text("new")
    assert "22 files" in house.run("sync", "photos", "--wait")
    assert house.run("diff", "photos").startswith("+ new.txt\n")
    assert house.run("cat", "photos", "new.txt") == "new"
    assert len(json.loads(house.run("commits", "photos", "-o", "json"))) == 2
    assert house.stop() == 0
    assert house.left() == []


def test_a_killed_member_comes_back_with_what_it_had(house: House) -> None:
    house.until("Dataset photos: ready")
    house.run("get", "photos", "a/0.bin", "--to", str(house.folder / "one"))
    pid = next(int(r.name) for r in (house.state / "processes").iterdir() if b"member" in command(int(r.name)))
    os.kill(pid, signal.SIGKILL)
    house.until("restarted|ended by signal 9")
    house.until("CacheCluster main: ready")
    assert json.loads(house.run("status", "-o", "json"))["members"][0]["restarts"] == 1
    house.run("get", "photos", "/", "--to", str(house.folder / "got"))
    assert same(house.folder / "got", house.origin)


@pytest.mark.skipif(bool(mounts_left_out()), reason=f"no mounts here: {mounts_left_out()}")
@pytest.mark.root
def test_a_mount_reads_the_same_bytes_and_goes_with_the_house_however_it_ends(house: House) -> None:
    house.until("Dataset photos: ready")
    target = house.folder / "mnt"
    house.run("mount", "photos", str(target))
    assert same(target, house.origin)
    house.run("umount", str(target))
    house.run("mount", "photos", str(target))
    house.stop(signal.SIGKILL)
    house.start()
    house.until("CacheCluster main: ready")
    house.run("mount", "photos", str(target))
    assert same(target, house.origin)
    assert house.stop() == 0
    assert house.left() == []


def test_a_log_line_holds_its_event_and_its_values() -> None:
    record = logging.makeLogRecord({"name": "forebay.x", "levelname": "WARNING", "msg": "look failed", "created": 0})
    record.cluster, record.again_s = "a b", 1.5
    assert KeyValues().format(record) == "1970-01-01T00:00:00Z warning forebay.x look failed cluster='a b' again_s=1.5"


def command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()
