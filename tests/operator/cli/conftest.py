"""A desk to try commands at: the dictionary as API server, members that answer from memory, output kept as text."""

import asyncio
import io
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from tests.cache.serve.conftest import limits, member, objects, running
from tests.rigs import objects as rigs
from tests.rigs.controlplane import ControlPlane

from forebay_cache.contract.admin import CommitList, CommitReport, DatasetReport, DiffReport, MemberReport
from forebay_cache.contract.prefetch import PrefetchReport, PrefetchRequest
from forebay_operator import main, names
from forebay_operator.cli import program
from forebay_operator.cli.base import Parts, Where
from forebay_operator.kube import http
from forebay_operator.kube.base import Kube
from forebay_operator.kube.memory import MemoryKube
from forebay_operator.members.base import TlsFiles
from forebay_operator.model import MemberUnavailable, Object
from forebay_operator.runtime.controller import ROOT_ANNOTATION

__all__ = ["limits", "member", "objects", "running"]
OLD, NEW = "a" * 64, "b" * 64
NOW = 1_800_000_000.0


@dataclass
class Members:
    """One member; remembers who was asked."""

    asked: list[tuple[str, int, bytes]] = field(default_factory=list)
    closed: bool = False
    uid: str = ""
    heads: list[str] = field(default_factory=list)
    """What the Dataset's head is at each report."""
    prefetches: list[PrefetchRequest] = field(default_factory=list)
    reports: list[PrefetchReport] = field(default_factory=list)
    """What is said of a prefetch, one after the other."""
    silent: bool = False
    used: int = 3 << 20
    cached: int = 0

    def at(self, address: str, port: int, tls: TlsFiles) -> "Members":
        self.asked.append((address, port, tls.ca))
        return self

    async def commits(self, dataset_uid: str) -> CommitList:
        def report(commit: str, parent: str | None) -> CommitReport:
            sizes = {"files": 1200, "bytes": 5 << 20, "segments": 1, "chunks": 1, "image_bytes": 1}
            return CommitReport(id=commit, parent=parent, created_ms=1_700_000_000_000, **sizes)

        return CommitList(commits=(report(NEW, OLD), report(OLD, None)))

    async def diff(self, dataset_uid: str, old: str, new: str) -> DiffReport:
        return DiffReport(old=old, new=new, added=3, removed=1, changed=0, added_paths=("x", "y"), removed_paths=("z",))

    async def report(self) -> MemberReport:
        if self.silent:
            raise MemberUnavailable("no answer in time")
        counts = dict.fromkeys(("chunks", "hits", "misses", "hit_bytes", "miss_bytes"), 0)
        counts |= {"capacity_bytes": 1 << 30, "used_bytes": self.used}
        head = self.heads.pop(0) if self.heads else None
        served = DatasetReport(
            uid=self.uid, head=head, cached_bytes=self.cached, cached_chunks=0, charged_bytes=self.cached
        )
        names = {"member": "m", "cluster_uid": "c", "boot_id": "b"}
        return MemberReport(**names, state_version=1, ready=True, datasets=(served,), **counts)

    async def start_prefetch(self, dataset_uid: str, request: PrefetchRequest) -> PrefetchReport:
        self.prefetches.append(request)
        return self.reports.pop(0)

    async def prefetch(self, dataset_uid: str) -> PrefetchReport | None:
        if self.silent:
            raise MemberUnavailable("no answer in time")
        return self.reports.pop(0) if self.reports else None

    async def stop_prefetch(self, dataset_uid: str) -> PrefetchReport:
        return self.reports[0].model_copy(update={"state": "Stopped"})

    async def aclose(self) -> None:
        self.closed = True


@dataclass
class Done:
    code: int
    out: str
    err: str


class Desk:
    """`where`: what every command line gets at its end."""

    kube: Any

    def __init__(self, state: Path) -> None:
        self.kube, self.members, self.state = MemoryKube(), Members(), state
        self.connect: Any = self._connect
        self.namespace, self.where = "default", tuple[str, ...]()
        self.environment = {"FOREBAY_STATE": str(state)}
        self.left_out = ""
        self.now = time.time  # the S3 face refuses a signature of another time
        self.asleep: Any = self._sleep
        self.after_up: Any = self._nothing

    async def _nothing(self) -> None:
        """What happens once the house is up."""

    @asynccontextmanager
    async def _connect(self, _: Where) -> AsyncIterator[Kube]:
        yield self.kube

    async def _sleep(self, _: float) -> None:
        """Time flies."""
        await asyncio.sleep(0)

    async def run(self, *argv: str) -> Done:
        """As `program.run`, in this loop."""
        out, err = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True), io.StringIO()
        parts = self.parts(out, err)
        module: Any = import_module(f"forebay_operator.cli.{argv[0]}")
        args = program.parser(argv[0], module).parse_args([*argv, *self.where])
        code = await program.attempt(args, module, parts)
        return Done(code, out.buffer.getvalue().decode(), err.getvalue())  # type: ignore[attr-defined]

    def parts(self, out: Any, err: Any) -> Parts:
        @asynccontextmanager
        async def up(manifests: Sequence[Object], _: Path) -> AsyncIterator[Kube]:
            for body in manifests:
                await self.kube.apply(body, manager="up", force=True)
            await self.after_up()
            yield self.kube

        return Parts(
            connect=self.connect,
            members=lambda: self.members,  # type: ignore[arg-type,return-value]
            up=up,
            mounts_left_out=lambda: self.left_out,
            environment=self.environment,
            now=self.now,
            sleep=self.asleep,
            stdout=out,
            stderr=err,
        )

    async def furnish(self, *, ready: bool = True, endpoint_port: int = 7450) -> None:
        """A cluster `main` with a member and a Dataset `photos` with two commits."""
        cluster = await self.kube.apply(
            rigs.cluster(self.namespace, s3={"port": endpoint_port}), manager="t", force=True
        )
        sources = [{"name": "photos", "s3": {"bucket": "photos"}}]  # as in examples/
        await self.kube.apply(rigs.dataset(self.namespace, sources=sources), manager="t", force=True)
        pod = rigs.pod(self.namespace)
        pod["metadata"] |= {
            "labels": {names.CLUSTER_LABEL: "main"},
            "annotations": {ROOT_ANNOTATION: f"{self.state}/pods/default.main-0/root"},
        }
        await self.kube.apply(pod, manager="t")
        await self.put_status(pod, pod_status(ready=ready))
        tls = {"ca.crt": "authority", "tls.crt": "c", "tls.key": "k"}
        await self.kube.apply(rigs.secret(self.namespace, "main-operator", **tls), manager="t")
        keys = {
            "AWS_ACCESS_KEY_ID": "AKIAREADER",
            "AWS_SECRET_ACCESS_KEY": "a-secret/of+the=reader",
            "BUCKET": "photos",
        }
        await self.kube.apply(rigs.secret(self.namespace, "photos-s3", **keys), manager="t")
        self.cluster = cluster
        await self.put_status(rigs.cluster(self.namespace), CLUSTER_STATUS)
        await self.put_status(rigs.dataset(self.namespace), DATASET_STATUS)

    async def put_status(self, body: Object, status: Any) -> None:
        await self.kube.apply_status({**body, "status": status}, manager="s", force=True)


def pod_status(*, ready: bool) -> dict[str, Any]:
    state = {"running": {}} if ready else {"waiting": {"reason": "CrashLoopBackOff"}}
    last = {} if ready else {"terminated": {"exitCode": 3, "message": "no disk"}}
    return {
        "podIP": "127.0.0.1",
        "startTime": "2027-01-15T07:50:00Z",
        "conditions": [{"type": "Ready", "status": str(ready)}],
        "containerStatuses": [{"name": "member", "restartCount": 2 * (not ready), "state": state, "lastState": last}],
    }


CLUSTER_STATUS = {
    "readyReplicas": 1,
    "capacity": {"total": 1 << 30, "used": 3 << 20},
    "members": [{"name": "main-0", "ready": True, "usedBytes": 3 << 20}],
    "conditions": [rigs.condition("Ready", reason="AllMembersReady")],
}
DATASET_STATUS = {
    "head": {"commit": NEW, "files": 1200, "bytes": 5 << 20, "time": "2027-01-15T08:00:00Z"},
    "commits": [
        {"id": NEW, "time": "2027-01-15T08:00:00Z", "files": 1200, "bytes": 5 << 20, "parent": OLD},
        {"id": OLD, "time": "2027-01-15T07:00:00Z", "files": 1198, "bytes": 5 << 20},
    ],
    "sync": {"state": "Succeeded", "listed": 1200},
    "cached": {"bytes": 1 << 20, "percent": 20},
    "conditions": [rigs.condition("Ready", reason="Readable")],
}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
async def real_desk(tmp_path: Path, control_plane: ControlPlane) -> AsyncIterator[Desk]:
    """The same at a real API server: commands find it by its kubeconfig, in a namespace of their own."""
    made = Desk(tmp_path)
    made.kube = await http.connect_file(str(control_plane.kubeconfig))
    made.namespace = control_plane.namespace()
    made.connect = main.connect
    made.where = ("--kubeconfig", str(control_plane.kubeconfig), "-n", made.namespace)
    yield made
    await made.kube.aclose()
