"""The whole product by its own command: a directory as origin, real members, the agent where there is root."""

import asyncio
import base64
import json
import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import boto3
import pytest
from tests.rigs import objects
from tests.rigs.rgw import Gateway

from forebay_operator.kube.socket import SOCKET, SocketKube
from forebay_operator.main import OPERATOR_URL, KeyValues, mounts_left_out, up
from forebay_operator.model import SECRET, BadManifest, Key

FOREBAY = [sys.executable, "-c", "from forebay_operator.main import run; run()"]
DEADLINE_S = 60
EXAMPLES = Path(__file__).parents[2] / "examples"
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
    """`forebay up` as a process, in a state directory of its own. `runs`: the command, with what makes it another user's."""

    def __init__(self, folder: Path, manifests: str = MANIFESTS, runs: Sequence[str] = FOREBAY) -> None:
        self.folder, self.state, self.origin, self.runs = folder, folder / "s", folder / "origin", runs
        (self.origin / "a").mkdir(parents=True)
        for number in range(20):
            (self.origin / "a" / f"{number}.bin").write_bytes(os.urandom(10_000 + number))
        (self.origin / "big.bin").write_bytes(os.urandom(9 << 20))
        (folder / "m.yaml").write_text(manifests.format(origin=self.origin))
        self.environment = {**os.environ, "FOREBAY_STATE": str(self.state)}

    def start(self) -> None:
        arguments = ["up", "-f", str(self.folder / "m.yaml"), "--state", str(self.state)]
        self.process = subprocess.Popen(
            [*self.runs, *arguments], env=self.environment, stderr=subprocess.PIPE, text=True, bufsize=1
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
        done = self.tried(*argv)
        assert done.returncode == 0, done.stderr + self.logs()
        return done.stdout

    def tried(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.runs, *argv], check=False, env=self.environment, capture_output=True, text=True, timeout=DEADLINE_S
        )

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
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fb", dir="/var/tmp") as name:  # short, and on a disk
        yield Path(name)


@contextmanager
def started(made: House) -> Iterator[House]:
    made.start()
    try:
        yield made
    finally:
        if made.process.poll() is None:
            made.stop()


@pytest.fixture
def house(folder: Path) -> Iterator[House]:
    with started(House(folder)) as made:
        yield made


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
    assert operator_says(house, "/healthz") == operator_says(house, "/readyz") == "ok\n"
    shown = operator_says(house, "/metrics")
    assert 'forebay_operator_looks_total{kind="CacheCluster",result="done"}' in shown
    assert 'forebay_operator_writes_total{kind="StatefulSet",result="accepted",verb="apply"} 1.0' in shown
    assert house.stop() == 0
    assert house.left() == []
    assert not (house.state / OPERATOR_URL).exists()


def operator_says(house: House, path: str) -> str:
    base = (house.state / OPERATOR_URL).read_text().strip()
    with urllib.request.urlopen(base + path, timeout=DEADLINE_S) as answer:
        return str(answer.read().decode())


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


BROKEN = {
    "a: [": "is not YAML",
    "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}": "apps/v1/Deployment x: Forebay takes",
    "apiVersion: forebay.dev/v1alpha1\nkind: CacheCluster\nmetadata: {name: x}\nspec: {storage: {capacity: 1Gi}}": "spec.storage",
    "apiVersion: forebay.dev/v1alpha1\nkind: Dataset\nmetadata: {name: x}\nspec: {clusterRef: {name: main}}": "spec.sources",
    "apiVersion: forebay.dev/v1alpha1\nkind: Dataset\nmetadata: {name: photos}\nspec: {sourcs: []}": "spec.",
}


def test_bad_input_is_one_line_and_the_house_goes_on(house: House) -> None:
    house.until("Dataset photos: ready")
    bad = house.folder / "bad.yaml"
    for text, says in BROKEN.items():
        bad.write_text(text)
        for argv in (("apply", "-f", str(bad)), ("up", "-f", str(bad), "--state", str(house.folder / "other"))):
            refused(house.tried(*argv), 2, says)
    refused(house.tried("apply", "-f", str(house.folder / "none.yaml")), 2, "No such file")
    refused(house.tried("cat", "nowhere", "a/0.bin"), 3, "nowhere")
    refused(house.tried("cat", "photos", "../../etc/passwd"), 3, "../../etc/passwd")
    house.run("get", "photos", "/", "--to", str(house.folder / "got"))
    assert same(house.folder / "got", house.origin)
    assert json.loads(house.run("status", "-o", "json"))["members"][0]["restarts"] == 0


def refused(done: subprocess.CompletedProcess[str], code: int, says: str) -> None:
    """Its last line says why; `up` has told before where it keeps its state."""
    assert done.returncode == code, done.stderr
    *before, line = done.stderr.splitlines()
    assert line.startswith("forebay")
    assert says in line
    assert len(before) <= 2, done.stderr


@pytest.mark.rgw
def test_a_bucket_of_ones_own_is_served_with_the_keys_of_a_secret(gateway: Gateway, folder: Path) -> None:
    origin, bucket = gateway.client(), gateway.bucket()
    for number in range(5):
        origin.put_object(Bucket=bucket, Key=f"a/{number}.bin", Body=bytes([number]) * 50_000)
    with started(House(folder, own_bucket(gateway, bucket))) as house:
        house.until("Dataset photos: ready, commit .*: 5 files")
        before = json.loads(house.run("commits", "photos", "-o", "json"))[0]["id"]
        origin.put_object(Bucket=bucket, Key="a/0.bin", Body=b"changed")
        origin.delete_object(Bucket=bucket, Key="a/1.bin")
        assert "4 files" in house.run("sync", "photos", "--wait")
        assert house.run("diff", "photos").splitlines()[:2] == ["- a/1.bin", "~ a/0.bin"]
        assert house.run("cat", "photos", "a/0.bin") == "changed"
        house.run("get", "photos", "a/", "--to", str(house.folder / "got"))
        assert (house.folder / "got" / "a" / "4.bin").read_bytes() == bytes([4]) * 50_000
        house.run("rollback", "photos", before[:9])
        keys = asyncio.run(secret_of_readers(house.state))
        assert keys.items() <= json.loads(house.run("keys", "photos", "-o", "json")).items()
        assert eventually(lambda: {"a/0.bin": 50_000, "a/1.bin": 50_000}.items() <= listed(keys).items())
        assert house.stop() == 0
        assert house.left() == []
        assert gateway.secret_key not in house.logs()


@pytest.mark.rgw
def test_wrong_keys_are_told_with_the_next_step(gateway: Gateway, folder: Path) -> None:
    wrong = replace(gateway, secret_key="not-the-one")
    with started(House(folder, own_bucket(wrong, gateway.bucket()))) as house:
        house.until("SignatureDoesNotMatch .*; check the keys in Secret origin-keys and what they may read at s3://")
        assert "not-the-one" not in house.run("status") + house.logs()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_without_root_all_but_mounts_works(folder: Path) -> None:
    reads = "+dac_read_search"  # the interpreter may lie where only root can look
    user = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        f"--inh-caps={reads}",
        f"--ambient-caps={reads}",
    ]
    made = House(folder, runs=[*user, *FOREBAY])
    for path in (folder, *folder.rglob("*")):
        os.chown(path, 65534, 65534)
    del made.environment["FOREBAY_STATE"]
    made.environment |= {"HOME": str(folder), "XDG_RUNTIME_DIR": ""}
    with started(made) as house:
        house.until("mounts are left out: they need root")
        house.until("Dataset photos: ready")
        house.run("get", "photos", "/", "--to", str(folder / "got"))
        assert same(folder / "got", house.origin)
        refused = house.tried("mount", "photos", str(folder / "mnt"))
        assert (refused.returncode, refused.stderr[:35]) == (6, "forebay mount: no mounts here: they")
        assert house.stop() == 0
        assert house.left() == []


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


def test_a_state_directory_too_deep_for_sockets_is_refused_before_anything_starts(tmp_path: Path) -> None:
    deep = tmp_path / ("deep" * 20)
    with pytest.raises(BadManifest, match=r"main-0/root/run/forebay/member\.sock .* choose a shorter --state"):
        up([objects.cluster("default")], deep)
    assert not deep.exists()


def test_a_log_line_holds_its_event_and_its_values() -> None:
    record = logging.makeLogRecord({"name": "forebay.x", "levelname": "WARNING", "msg": "look failed", "created": 0})
    record.cluster, record.again_s = "a b", 1.5
    assert KeyValues().format(record) == "1970-01-01T00:00:00Z warning forebay.x look failed cluster='a b' again_s=1.5"


def command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def own_bucket(gateway: Gateway, bucket: str) -> str:
    """The manifests of examples/, as a person fills them in."""
    texts = [(EXAMPLES / name).read_text() for name in ("cachecluster.yaml", "dataset.yaml")]
    changes = {
        "bucket: photos": f"bucket: {bucket}",
        "http://127.0.0.1:9000": gateway.endpoint,
        "AWS_ACCESS_KEY_ID: forebay": f"AWS_ACCESS_KEY_ID: {gateway.access_key}",
        "change-me-please": gateway.secret_key,
    }
    whole = "---\n".join(texts).replace("{", "{{").replace("}", "}}")
    for old, new in changes.items():
        assert old in whole
        whole = whole.replace(old, new)
    return whole


async def secret_of_readers(state: Path) -> dict[str, str]:
    """What a pod would get as its environment from the Secret."""
    found = await SocketKube(state / SOCKET).get(Key(SECRET, "default", "photos-s3"))
    return {name: base64.b64decode(value).decode() for name, value in found["data"].items()}


def listed(keys: dict[str, str]) -> dict[str, int]:
    """Keys and sizes, as boto3 sees them with nothing but the Secret."""
    client = boto3.client(
        "s3",
        endpoint_url=keys["AWS_ENDPOINT_URL"],
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
    )
    return {one["Key"]: one["Size"] for one in client.list_objects_v2(Bucket=keys["BUCKET"])["Contents"]}


def eventually(check: Callable[[], bool]) -> bool:
    """A change reaches members a moment after the API server."""
    until = time.monotonic() + DEADLINE_S
    while not check():
        if time.monotonic() > until:
            return False
    return True
