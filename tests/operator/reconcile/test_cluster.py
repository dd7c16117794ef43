"""The walk of one look, on the dictionary and on a real API server, over members that answer from memory."""

import base64
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.rigs.controlplane import ControlPlane

from forebay_cache.contract.admin import (
    CommitList,
    CommitReport,
    DatasetReport,
    DiffReport,
    MemberReport,
    SyncReport,
    SyncRequest,
)
from forebay_cache.contract.config import ClusterState
from forebay_operator import names
from forebay_operator.kube import http
from forebay_operator.kube.base import Kube
from forebay_operator.kube.memory import MemoryKube
from forebay_operator.members.base import TlsFiles
from forebay_operator.model import CACHE_CLUSTER, CONFIG_MAP, DATASET, SECRET, SERVICE, STATEFUL_SET, Key
from forebay_operator.reconcile.cluster import Reconciler


@dataclass
class OneMember:
    """A member that remembers what it is told; syncs end when the test says so."""

    member: str = field(default_factory=lambda: str(uuid.uuid4()))
    state: ClusterState | None = None
    syncs: dict[str, SyncReport] = field(default_factory=dict)
    started: int = 0

    def at(self, address: str, port: int, tls: TlsFiles) -> "OneMember":
        assert (address, port) == ("127.0.0.9", 9450)
        assert tls.certificate
        return self

    async def put_state(self, state: ClusterState) -> None:
        self.state = state

    async def report(self) -> MemberReport:
        datasets = self.state.datasets if self.state else ()
        return MemberReport(
            member=self.member, cluster_uid="c", boot_id="b", state_version=self.state.version if self.state else -1,
            ready=True, capacity_bytes=1000, used_bytes=10, chunks=1, hits=0, misses=0, hit_bytes=0, miss_bytes=0,
            datasets=tuple(DatasetReport(uid=d.uid, head=d.head, cached_bytes=0, cached_chunks=0) for d in datasets),
        )  # fmt: skip

    async def start_sync(self, dataset_uid: str, request: SyncRequest) -> SyncReport:
        self.started += 1
        report = SyncReport(id=f"s{self.started}", state="Running", parent=request.parent, started_ms=self.started)
        self.syncs[dataset_uid] = report
        return report

    def end(self, dataset_uid: str, commit: str, now_ms: int) -> None:
        made = CommitReport(id=commit, created_ms=now_ms, files=3, bytes=300, segments=1, chunks=1, image_bytes=1)
        report = self.syncs[dataset_uid]
        update = {"state": "Succeeded", "commit": made, "finished_ms": now_ms, "listed": 3}
        self.syncs[dataset_uid] = report.model_copy(update=update)

    def fail(self, dataset_uid: str, reason: str, now_ms: int) -> None:
        update = {"state": "Failed", "reason": reason, "message": f"{reason}: says the origin", "finished_ms": now_ms}
        self.syncs[dataset_uid] = self.syncs[dataset_uid].model_copy(update=update)

    async def sync(self, dataset_uid: str) -> SyncReport | None:
        return self.syncs.get(dataset_uid)

    async def commits(self, dataset_uid: str) -> CommitList:
        raise NotImplementedError

    async def diff(self, dataset_uid: str, old: str, new: str) -> DiffReport:
        raise NotImplementedError

    async def aclose(self) -> None:
        pass


@dataclass
class Counting:
    """A Kube that counts writes."""

    kube: Kube
    writes: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        call = getattr(self.kube, name)
        if name not in ("apply", "apply_status", "create", "delete"):
            return call

        async def counted(*args: Any, **kwargs: Any) -> Any:
            self.writes.append(name)
            return await call(*args, **kwargs)

        return counted


@dataclass
class World:
    kube: Counting
    member: OneMember
    namespace: str
    clock: list[float]
    reconciler: Reconciler

    @property
    def key(self) -> Key:
        return Key(CACHE_CLUSTER, self.namespace, "main")

    async def look(self, times: int = 1) -> float | None:
        for _ in range(times):
            wait = await self.reconciler.reconcile(self.key)
        return wait

    async def apply(self, body: dict[str, Any]) -> None:
        metadata = {"namespace": self.namespace, **body.pop("metadata")}
        await self.kube.kube.apply({**body, "metadata": metadata}, manager="user", force=True)

    async def cluster(self, **spec: Any) -> None:
        wanted = {"storage": {"capacity": "1Gi", "emptyDir": {}}, **spec}
        await self.apply(
            {"apiVersion": "forebay.dev/v1alpha1", "kind": "CacheCluster", "metadata": {"name": "main"}, "spec": wanted}
        )

    async def dataset(self, name: str = "photos", **spec: Any) -> str:
        wanted = {"clusterRef": {"name": "main"}, "sources": [{"name": "s", "directory": {"path": "/data"}}], **spec}
        annotations = wanted.pop("annotations", {})
        body = {
            "apiVersion": "forebay.dev/v1alpha1",
            "kind": "Dataset",
            "metadata": {"name": name, "annotations": annotations},
        }
        await self.apply({**body, "spec": wanted})
        return str((await self.get(DATASET, name))["metadata"]["uid"])

    async def pod(self) -> None:
        """What a StatefulSet controller and a kubelet would have done."""
        labels = names.labels("main")
        spec = {"containers": [{"name": "member", "image": "x"}]}
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "main-0", "namespace": self.namespace, "labels": labels},
        }
        await self.kube.kube.create({**body, "spec": spec})
        status = {
            "phase": "Running",
            "podIP": "127.0.0.9",
            "podIPs": [{"ip": "127.0.0.9"}],
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        await self.kube.kube.apply_status({**body, "status": status}, manager="kubelet")

    async def get(self, kind: Any, name: str) -> Any:
        return await self.kube.kube.get(Key(kind, self.namespace, name))

    async def reasons(self, kind: Any, name: str) -> dict[str, str]:
        return {one["type"]: one["reason"] for one in (await self.get(kind, name))["status"]["conditions"]}


@pytest.fixture(params=["dictionary", pytest.param("server", marks=pytest.mark.kube)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    clock = [1_700_000_000.0]
    kube: Any
    namespace = "default"
    if request.param == "server":
        plane: ControlPlane = request.getfixturevalue("control_plane")
        namespace = plane.namespace()
        kube = await http.connect_file(str(plane.kubeconfig))
    else:
        kube = MemoryKube(now=lambda: clock[0])
    counting, member = Counting(kube), OneMember()
    yield World(counting, member, namespace, clock, Reconciler(counting, member, lambda: clock[0]))  # type: ignore[arg-type]
    await kube.aclose()


COMMIT = "c" * 64


async def served(world: World) -> str:
    """A cluster with a ready member and a Dataset with a head."""
    await world.cluster()
    uid = await world.dataset()
    await world.look()
    await world.pod()
    await world.look(2)
    world.member.end(uid, COMMIT, int(world.clock[0] * 1000))
    await world.look(4)
    return uid


async def test_a_cluster_becomes_its_children_all_owned_by_it(world: World) -> None:
    await world.cluster()
    await world.look()
    for kind, name in (
        (STATEFUL_SET, "main"), (CONFIG_MAP, "main-config"), (SERVICE, "main-members"), (SERVICE, "main-s3"),
        (SECRET, "main-state"), (SECRET, "main-ca"), (SECRET, "main-admin"), (SECRET, "main-operator"),
    ):  # fmt: skip
        child = await world.get(kind, name)
        assert child["metadata"]["ownerReferences"][0]["kind"] == "CacheCluster", name
    assert (await world.reasons(CACHE_CLUSTER, "main"))["Ready"] == "MembersUnready"


async def test_a_dataset_is_pushed_synced_and_becomes_readable(world: World) -> None:
    uid = await served(world)
    status = (await world.get(DATASET, "photos"))["status"]
    assert status["head"]["commit"] == COMMIT
    assert status["bucket"] == "photos"
    assert (await world.reasons(DATASET, "photos"))["Ready"] == "Readable"
    assert world.member.state is not None
    (pushed,) = world.member.state.datasets
    assert (pushed.uid, pushed.head, pushed.bucket) == (uid, COMMIT, "photos")
    secret = await world.get(SECRET, "photos-s3")
    key = base64.b64decode(secret["data"]["AWS_ACCESS_KEY_ID"]).decode()
    assert pushed.access_keys[0].access_key_id == key
    assert (await world.reasons(CACHE_CLUSTER, "main"))["Ready"] == "AllMembersReady"


async def test_a_settled_world_is_looked_at_without_a_write(world: World) -> None:
    await served(world)
    world.kube.writes.clear()
    await world.look(3)
    assert world.kube.writes == []


async def test_a_sync_that_finds_nothing_new_writes_nothing(world: World) -> None:
    uid = await served(world)
    world.kube.writes.clear()
    world.clock[0] += 301
    await world.look()
    assert world.member.started == 2
    world.member.end(uid, COMMIT, int(world.clock[0] * 1000))
    await world.look(2)
    assert world.kube.writes == []


async def test_a_request_starts_one_sync_and_is_answered(world: World) -> None:
    uid = await served(world)
    await world.dataset(annotations={names.SYNC_REQUEST: "now-1"})
    await world.look(2)
    assert world.member.started == 2
    world.member.end(uid, "d" * 64, int(world.clock[0] * 1000))
    await world.look(3)
    status = (await world.get(DATASET, "photos"))["status"]
    assert status["sync"]["requested"] == "now-1"
    assert [one["id"] for one in status["commits"]] == ["d" * 64, COMMIT]
    await world.look(3)
    assert world.member.started == 2


async def test_a_failed_sync_says_why_and_is_tried_again_later(world: World) -> None:
    uid = await served(world)
    world.clock[0] += 301
    await world.look()
    world.member.fail(uid, "OriginDenied", int(world.clock[0] * 1000))
    await world.look(2)
    reasons = await world.reasons(DATASET, "photos")
    assert (reasons["Synced"], reasons["CredentialsValid"], reasons["Ready"]) == (
        "OriginDenied",
        "OriginDenied",
        "Readable",
    )
    started = world.member.started
    await world.look(2)
    assert world.member.started == started
    world.clock[0] += 11
    await world.look()
    assert world.member.started == started + 1


async def test_a_hand_edit_of_our_field_is_undone_and_a_foreign_field_is_left(world: World) -> None:
    await world.cluster()
    await world.look()
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "main-s3", "annotations": {"me": "here"}}}
    await world.apply(
        {**service, "spec": {"ports": [{"name": "s3", "port": 7450, "protocol": "TCP", "targetPort": 1}]}}
    )
    await world.look()
    live = await world.get(SERVICE, "main-s3")
    assert live["spec"]["ports"][0]["targetPort"] == "s3"
    assert live["metadata"]["annotations"]["me"] == "here"


async def test_a_missing_origin_secret_is_named(world: World) -> None:
    await world.cluster()
    source = {"name": "s", "s3": {"bucket": "photos"}, "credentials": {"secretRef": {"name": "origin-keys"}}}
    await world.dataset(sources=[source])
    await world.look(2)
    assert (await world.reasons(DATASET, "photos"))["CredentialsValid"] == "SecretMissing"
    data = {name: base64.b64encode(b"value").decode() for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    await world.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "origin-keys"}, "data": data})
    await world.look(2)
    assert (await world.reasons(DATASET, "photos"))["CredentialsValid"] == "Given"


async def test_a_dataset_without_cluster_says_so(world: World) -> None:
    await world.dataset()
    await world.look()
    assert (await world.reasons(DATASET, "photos"))["Ready"] == "ClusterMissing"


async def test_the_older_of_two_datasets_keeps_the_bucket(world: World) -> None:
    await served(world)
    world.clock[0] += 2
    await world.dataset("second", s3={"bucket": "photos"})
    await world.look(2)
    reasons = {name: (await world.reasons(DATASET, name))["BucketUnique"] for name in ("photos", "second")}
    assert sorted(reasons.values()) == ["BucketTaken", "Unique"]


async def test_a_pinned_commit_is_served_whatever_comes(world: World) -> None:
    uid = await served(world)
    await world.dataset(version={"mode": "Pinned", "commit": COMMIT})
    world.clock[0] += 301
    await world.look(2)
    world.member.end(uid, "d" * 64, int(world.clock[0] * 1000))
    await world.look(4)
    assert world.member.state is not None
    assert world.member.state.datasets[0].head == COMMIT
    assert (await world.get(DATASET, "photos"))["status"]["head"]["commit"] == "d" * 64


async def test_a_suspended_cluster_is_left_as_it_is(world: World) -> None:
    await world.cluster(suspend=True)
    await world.look(2)
    assert world.kube.writes == []
