"""A real member process, started as `forebay up` starts it: its command, its documents, its certificates, below a folder that
is its root. It dies with the thread that started it, however that ends."""

import contextlib
import datetime as dt
import hashlib
import http.client
import json
import os
import pathlib
import random
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tests.rigs.bucket import Bucket
from tests.rigs.rgw import free_port

from forebay_cache.contract.admin import SyncReport, SyncRequest
from forebay_cache.contract.config import (
    AccessKey,
    ClusterState,
    Credentials,
    DatasetState,
    MemberConfig,
    S3Source,
    Source,
)
from forebay_cache.model.sigv4 import Signer
from forebay_operator.desired import workload
from forebay_operator.members.base import SERVER_NAME
from forebay_operator.runtime.container import expand
from forebay_operator.tls import mint_authority, mint_leaf

SECRETS = ("origin-secret-7141", "reader-secret-3391", "other-secret-5525")
"""Of the origin, of READER, of STRANGER: none may show in a log or an argument list."""
READER = Signer("AKREADER", SECRETS[1])
STRANGER = Signer("AKOTHER", SECRETS[2])
LARGE = 9 << 20
"""A segment of its own, of two chunks: nothing but its own readers fetches it."""
CLUSTER = "11111111-1111-1111-1111-111111111111"
DEADLINE_S = 100
"""For what takes a second or two on an idle machine; pytest's own deadline is a little later."""
OPERATOR_TLS = "operator.pem"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """Of an S3 error document."""
        return self._within(b"Code")

    @property
    def message(self) -> str:
        return self._within(b"Message")

    def _within(self, name: bytes) -> str:
        return self.body.partition(b"<%b>" % name)[2].partition(b"</%b>" % name)[0].decode()


class Member:
    """A member and its folder; it may be stopped and started again."""

    def __init__(self, root: pathlib.Path, **config: Any) -> None:
        self.root = root
        self.log = root / "member.log"
        self.store, self.catalog = (self.inside(f"{workload.DATA_DIR}/{name}") for name in ("store", "catalog"))
        self.state = ClusterState(version=0, cluster_uid=CLUSTER)
        self.process: subprocess.Popen[bytes] | None = None
        self.config = MemberConfig(
            **{
                "cluster": "ns/main",
                "cluster_uid": CLUSTER,
                "store_path": f"{workload.DATA_DIR}/store",
                "catalog_path": f"{workload.DATA_DIR}/catalog",
                "capacity_bytes": 1 << 30,
                "data_port": free_port(),
                "admin_port": free_port(),
                "admin_tls": workload.TLS_DIR,
                "node_socket": workload.NODE_SOCKET,
                "state_path": f"{workload.STATE_DIR}/state.json",
                **config,
            }
        )
        for folder in (workload.CONFIG_DIR, workload.STATE_DIR, workload.TLS_DIR, workload.DATA_DIR, workload.RUN_DIR):
            self.inside(folder).mkdir(parents=True)
        self.document = self.inside(f"{workload.CONFIG_DIR}/member.json")
        self.document.write_text(self.config.model_dump_json(indent=1))
        _certify(self.inside(workload.TLS_DIR), root)

    def inside(self, path: str) -> pathlib.Path:
        """Where a path of the documents is."""
        return self.root / path.lstrip("/")

    # its life

    def spawn(self, before: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """Starts it and waits for nothing. `before`: a command that becomes the member's."""
        argv = [expand(word, {"POD_IP": "127.0.0.1"}) for word in workload.COMMAND]
        argv[0] = sys.executable
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *before, *argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(self.root),
                cwd=self.root,
            )
        return self.process

    def start(self, before: Sequence[str] = ()) -> None:
        """Until it serves."""
        process = self.spawn(before)
        wait_until(lambda: process.poll() is not None or self.answers("/healthz"), "the member answers")
        assert process.poll() is None, self.log.read_text()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """-> its exit status."""
        assert self.process
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)

    def end(self) -> None:
        """Whatever state it is in."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(DEADLINE_S)

    @property
    def pid(self) -> int:
        assert self.process
        return self.process.pid

    # its admin API

    def answers(self, path: str) -> bool:
        try:
            return self.ask("GET", path)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        context = ssl.create_default_context(cafile=self.inside(workload.TLS_DIR) / "ca.crt")
        context.load_cert_chain(self.root / OPERATOR_TLS)
        raw = socket.create_connection(("127.0.0.1", self.config.admin_port), timeout=DEADLINE_S)
        line = http.client.HTTPConnection("member", timeout=DEADLINE_S)
        with contextlib.closing(line):
            line.sock = context.wrap_socket(raw, server_hostname=SERVER_NAME)
            line.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            answer = line.getresponse()
            return answer.status, answer.read()

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.ask("GET", "/v1/report")[1])
        return found

    def serve(self, *datasets: DatasetState) -> None:
        """Pushes these Datasets, in place of those it had under the same UID."""
        known = {one.uid: one for one in (*self.state.datasets, *datasets)}
        update = {"version": self.state.version + 1, "datasets": tuple(known.values())}
        self.state = self.state.model_copy(update=update)
        status, text = self.ask("PUT", "/v1/state", self.state.model_dump_json().encode())
        assert status == 204, text

    def sync(self, dataset: DatasetState) -> SyncReport:
        """Runs a sync to its end, and serves what it found."""
        path, before = f"/v1/datasets/{dataset.uid}/sync", self.mark()
        asked = SyncRequest(parent=dataset.head).model_dump_json().encode()
        reports = [SyncReport.model_validate_json(self.ask("POST", path, asked)[1])]

        def ended() -> bool:
            reports[0] = SyncReport.model_validate_json(self.ask("GET", path)[1])
            # the child ends a moment after its verdict
            return reports[0].state != "Running" and "sync ended" in [one["event"] for one in self.told(before)]

        wait_until(ended, "the sync ends")
        if reports[0].commit:
            self.serve(dataset.model_copy(update={"head": reports[0].commit.id}))
        return reports[0]

    # its S3 face

    def connect(self) -> socket.socket:
        line = socket.create_connection(("127.0.0.1", self.config.data_port), timeout=DEADLINE_S)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return line

    def send(self, raw: bytes) -> Answer:
        """One request, as it is, on a connection of its own."""
        with self.connect() as line, line.makefile("rb") as stream:
            with contextlib.suppress(ConnectionError):  # it may have heard enough
                line.sendall(raw)
            return read_answer(stream, head_only=raw.startswith(b"HEAD"))

    def get(self, target: str, *headers: str, method: str = "GET") -> Answer:
        return self.send(head(target, f"Host: {self.host}", "Connection: close", *headers, method=method))

    def signed(self, path: str, signer: Signer, *, ahead_s: float = 0.0, query: str = "") -> Answer:
        """`ahead_s`: how much the client's clock is ahead."""
        headers = signer.sign("GET", self.host, path, query, time.time() + ahead_s)
        target = f"{path}?{query}" if query else path
        return self.get(target, *(f"{name}: {value}" for name, value in headers.items()))

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.config.data_port}"

    # its log

    def told(self, after: int = 0) -> list[dict[str, Any]]:
        """Records from byte `after` of the log on; every line must be one."""
        text = self.log.read_bytes()[after:].decode()
        return [json.loads(line) for line in text.splitlines()]

    def mark(self) -> int:
        return self.log.stat().st_size


def environment(root: pathlib.Path, **more: str) -> dict[str, str]:
    """A pod's: nobody's cloud identity, and its root."""
    own = {name: os.environ[name] for name in ("PATH", "LANG", "PYTHONPATH", "TMPDIR") if name in os.environ}
    nobody = {
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
        "AWS_CONFIG_FILE": "/nonexistent",
        "HOME": str(root),
    }
    return {**own, **nobody, "FOREBAY_ROOT": str(root), **more}


def dataset_of(
    store: Bucket, name: str, signer: Signer = READER, *, anonymous: bool = False, prefix: str = ""
) -> DatasetState:
    key = AccessKey(access_key_id=signer.access_key_id, secret_access_key=signer.secret)
    keys = Credentials(access_key_id="AKORIGIN", secret_access_key=SECRETS[0])
    place = S3Source(bucket="b", endpoint=store.endpoint, prefix=prefix)
    return DatasetState(
        uid=f"uid-{name}",
        namespace="ns",
        name=name,
        bucket=name,
        anonymous=anonymous,
        access_keys=(key,),
        sources=(Source(name="all", s3=place, credentials=keys),),
    )


@contextlib.contextmanager
def member(root: pathlib.Path, **config: Any) -> Iterator[Member]:
    """Not started yet; ended at the end."""
    made = Member(root, **config)
    try:
        yield made
    finally:
        made.end()


def content(name: str, size: int = LARGE) -> bytes:
    return random.Random(name).randbytes(size)


def same(data: bytes, name: str, size: int = LARGE) -> bool:
    return brief(data) == brief(content(name, size))


def brief(data: bytes) -> tuple[int, str]:
    """To be compared in place of the bytes, whose difference would fill a screen, or a log."""
    return len(data), hashlib.sha256(data).hexdigest()


def head(target: str, *headers: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", *headers, "", ""]).encode("latin-1")


def read_answer(stream: Any, *, head_only: bool = False) -> Answer:
    line = stream.readline()
    assert line.startswith(b"HTTP/1.1 "), f"no answer: {line!r}"
    headers: dict[str, str] = {}
    while (field := stream.readline().rstrip(b"\r\n")) != b"":
        name, _, value = field.decode("latin-1").partition(": ")
        headers[name.lower()] = value
    length = 0 if head_only else int(headers.get("content-length", "0"))
    return Answer(int(line.split()[1]), headers, stream.read(length))


def wait_until(done: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + DEADLINE_S
    while not done():
        assert time.monotonic() < end, f"not in {DEADLINE_S} s: {what}"
        time.sleep(0.02)


def _certify(folder: pathlib.Path, root: pathlib.Path) -> None:
    now = dt.datetime.now(dt.UTC)
    authority = mint_authority("main", now)
    own = mint_leaf(authority, SERVER_NAME, now, server=True)
    for name, pem in (("ca.crt", own.ca), ("tls.crt", own.certificate), ("tls.key", own.key)):
        (folder / name).write_bytes(pem)
    ours = mint_leaf(authority, "operator", now, server=False)
    (root / OPERATOR_TLS).write_bytes(ours.certificate + ours.key)
