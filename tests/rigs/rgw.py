"""A real S3 store on 127.0.0.1 for as long as a `with` block lasts: Ceph's object gateway over one in-memory OSD.

Debian's packages ceph-mon, ceph-osd, ceph-mgr, ceph-common and radosgw; 12 s from nothing to serving. Everything lives in
one temporary folder, and every process dies with the thread that started it (PR_SET_PDEATHSIG), however that ends.
"""

import contextlib
import pathlib
import random
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import boto3
from botocore.config import Config

PROGRAMS = ("setpriv", "ceph", "ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "monmaptool")
DEADLINE_S = 90


@dataclass(frozen=True, slots=True)
class Gateway:
    """Where it listens, and a user who may do everything with their own buckets. `folder` holds its sockets and logs."""

    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)
    folder: pathlib.Path

    def client(self) -> Any:
        """boto3, set to what this store understands: no checksums in trailers."""
        config = Config(
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path"},
            max_pool_connections=32,
        )
        keys = {"aws_access_key_id": self.access_key, "aws_secret_access_key": self.secret_key}
        return boto3.client("s3", endpoint_url=self.endpoint, region_name="us-east-1", config=config, **keys)

    def bucket(self, prefix: str = "b") -> str:
        """A new, empty bucket's name."""
        name = f"{prefix}-{uuid.uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name)
        return name

    def set(self, option: str, value: str) -> None:
        """Changes an option of the running gateway."""
        (socket,) = self.folder.glob("client.rgw.*.asok")
        command = ["ceph", "daemon", str(socket), "config", "set", option, value]
        subprocess.run(command, check=True, capture_output=True, timeout=DEADLINE_S)


def missing() -> str:
    """Why no gateway can be started here; "" where it can."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"no Ceph object gateway: {', '.join(absent)} not installed (make setup, as root)" if absent else ""


@contextlib.contextmanager
def gateway(
    folder: pathlib.Path,
    *,
    access_key: str = "forebay-test",
    secret_key: str = "forebay-test-secret",
    memory: int = 8 << 30,
) -> Iterator[Gateway]:
    """`memory`: bytes the store may hold."""
    port = free_port()
    conf = _configured(folder, port, memory)
    with _Processes(folder, conf) as processes:
        processes.once(
            "monmaptool", "--create", "--fsid", _fsid(conf), "--addv", "a", _mon(conf), str(folder / "monmap")
        )
        processes.once("ceph-mon", "--mkfs", "-i", "a", "--monmap", str(folder / "monmap"))
        processes.start("ceph-mon", "-i", "a", "-f")
        processes.soon("ceph", "osd", "create")
        # by hand, because an OSD that does it itself may ask before it knows the cluster's id, and then ends
        processes.soon("ceph", "osd", "crush", "add", "osd.0", "1", "root=default", "host=local")
        processes.once("ceph-osd", "-i", "0", "--mkfs", "--mkkey")
        processes.start("ceph-osd", "-i", "0", "-f")
        processes.start("radosgw", "-n", "client.rgw", "-f")
        endpoint = f"http://127.0.0.1:{port}"
        processes.wait_for(endpoint)
        user = ("--uid", "forebay", "--display-name", "Forebay", "--access-key", access_key, "--secret-key", secret_key)
        processes.once("radosgw-admin", "-n", "client.rgw", "user", "create", *user)
        yield Gateway(endpoint, access_key, secret_key, folder)


def free_port() -> int:
    """Below the ports that the kernel gives to clients: one of those could be taken again before the server listens."""
    while True:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", random.randrange(10_000, 32_000)))
            return int(probe.getsockname()[1])


def _configured(folder: pathlib.Path, port: int, memory: int) -> pathlib.Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("mon", "osd"):
        (folder / name).mkdir()
    conf = folder / "ceph.conf"
    # tcp_nodelay: else every small answer on a used connection waits 40 ms for an acknowledgement
    conf.write_text(
        f"""[global]
fsid = {uuid.uuid4()}
mon host = [v1:127.0.0.1:{free_port()}]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pg autoscale mode = off
mon allow pool size one = true
mon max pg per osd = 2000
osd crush chooseleaf type = 0
ms bind ipv6 = false
admin socket = {folder}/$name.$pid.asok
log file = {folder}/$name.log
run dir = {folder}
crash dir = {folder}
mon data = {folder}/mon
osd data = {folder}/osd
[mon]
mon data avail crit = 1
[osd]
osd crush update on start = false
osd class update on start = false
osd objectstore = memstore
memstore device bytes = {memory}
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw enable apis = s3, admin
keyring = /dev/null
"""
    )
    return conf


def _fsid(conf: pathlib.Path) -> str:
    return conf.read_text().split("fsid = ")[1].splitlines()[0]


def _mon(conf: pathlib.Path) -> str:
    return conf.read_text().split("mon host = ")[1].splitlines()[0]


class _Processes:
    """What was started, and how it ends: by pid, the last one first."""

    def __init__(self, folder: pathlib.Path, conf: pathlib.Path) -> None:
        self._folder = folder
        self._conf = conf
        self._running: list[subprocess.Popen[bytes]] = []
        self._until = time.monotonic() + DEADLINE_S

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._running):
            process.kill()  # nothing here is worth the 5 s of an orderly end
            process.wait()

    def once(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            self._command(program, arguments),
            capture_output=True,
            timeout=DEADLINE_S,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{program} {arguments[0]}: {done.stderr.decode(errors='replace')[-500:]}")

    def soon(self, program: str, *arguments: str) -> None:
        """A monitor that has just begun may refuse for a moment, on a busy machine a long one: asked again until the
        deadline. For what may be done twice."""
        while True:
            try:
                return self.once(program, *arguments)
            except RuntimeError:
                if time.monotonic() > self._until:
                    raise
                time.sleep(0.5)

    def start(self, program: str, *arguments: str) -> None:
        with open(self._folder / f"{program}.out", "wb") as out:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self._command(program, arguments)],
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._running.append(process)

    def wait_for(self, url: str) -> None:
        while not _answers(url):
            ended = [process for process in self._running if process.poll() is not None]
            if ended or time.monotonic() > self._until:
                logs = "".join(path.read_text(errors="replace")[-800:] for path in sorted(self._folder.glob("*.out")))
                raise RuntimeError(f"the object gateway does not answer at {url}: {logs}")
            time.sleep(0.1)

    def _command(self, program: str, arguments: Sequence[str]) -> list[str]:
        return [program, *arguments] if program == "monmaptool" else [program, "-c", str(self._conf), *arguments]


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
