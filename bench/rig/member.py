"""One real cache member, as a process with a store of its own, for as long as a `with` block lasts."""

import contextlib
import json
import pathlib
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

from bench.servers.rivals import free_port, running
from forebay_cache.contract.admin import SyncReport
from forebay_cache.contract.config import ClusterState, DatasetState, MemberConfig, Source

CLUSTER = "11111111-1111-1111-1111-111111111111"
UID = "22222222-2222-2222-2222-222222222222"
DEADLINE_S = 120
CAPACITY = 32 << 30


@dataclass(frozen=True, slots=True)
class Member:
    """Where its S3 face and its admin port listen."""

    endpoint: str
    admin: str
    pid: int

    def sync(self) -> SyncReport:
        """Runs the Dataset's first sync to its end. Raises RuntimeError when it fails."""
        path = f"/v1/datasets/{UID}/sync"
        report = SyncReport.model_validate_json(self._ask("POST", path, b"{}"))
        until = time.monotonic() + DEADLINE_S
        while report.state == "Running" and time.monotonic() < until:
            time.sleep(0.1)
            report = SyncReport.model_validate_json(self._ask("GET", path))
        if report.state != "Succeeded":
            raise RuntimeError(f"the sync ended as {report.state} {report.reason}: {report.message}")
        return report

    def wait_until_ready(self) -> None:
        until = time.monotonic() + DEADLINE_S
        while time.monotonic() < until:
            with contextlib.suppress(OSError):
                self._ask("GET", "/readyz")
                return
            time.sleep(0.02)
        raise RuntimeError(f"the member at {self.admin} did not become ready")

    def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.admin + path, data=body, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            found: bytes = answer.read()
        return found


def dataset(source: Source, head: str | None) -> ClusterState:
    """One Dataset that anybody may read, as bucket `data`."""
    state = DatasetState(
        uid=UID, namespace="bench", name="data", bucket="data", anonymous=True, sources=(source,), head=head
    )
    return ClusterState(version=2 if head else 1, cluster_uid=CLUSTER, datasets=(state,))


@contextlib.contextmanager
def member(folder: pathlib.Path, catalog: pathlib.Path, state: ClusterState) -> Iterator[Member]:
    """`folder` gets its store and its documents, `catalog` its catalog files."""
    folder.mkdir(parents=True)
    ports = free_port(), free_port()
    (folder / "state.json").touch(0o600)
    (folder / "state.json").write_text(state.model_dump_json())
    config = MemberConfig(
        cluster="bench/fill",
        cluster_uid=CLUSTER,
        store_path=str(folder / "store"),
        catalog_path=str(catalog),
        capacity_bytes=CAPACITY,
        data_port=ports[0],
        admin_port=ports[1],
        state_path=str(folder / "state.json"),
    )
    (folder / "member.json").write_text(json.dumps(config.model_dump(mode="json")))
    command = [sys.executable, "-m", "forebay_cache.main", "member", "--config", str(folder / "member.json")]
    with (
        open(folder / "member.log", "wb") as log,
        running(["setpriv", "--pdeathsig", "KILL", *command], ports[1], stdout=subprocess.DEVNULL, stderr=log) as pid,
    ):
        found = Member(f"http://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}", pid)
        found.wait_until_ready()
        yield found
