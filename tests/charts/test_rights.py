"""The operator with a token of the chart's ServiceAccount: what it asks for it may, and what it may it asks for.

The verbs asked for come from the API server's audit log. What the log does not show, because the server checks it in the
course of another request, is proven by taking it away.
"""

import asyncio
import copy
import itertools
import pathlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from tests.charts.conftest import Server
from tests.rigs import objects
from tests.rigs.helm import Helm, Object, of_kind, only
from tests.rigs.members import ADDRESS, OneMember

from forebay_cache.telemetry import Telemetry
from forebay_operator import __main__ as process
from forebay_operator import names
from forebay_operator.engine import Engine
from forebay_operator.kube import http
from forebay_operator.kube.base import Kube
from forebay_operator.kube.lease import Candidate, Clock
from forebay_operator.model import (
    CACHE_CLUSTER,
    CONFIG_MAP,
    DATASET,
    EVENT,
    FIELD_MANAGER,
    SECRET,
    SERVICE,
    STATEFUL_SET,
    Key,
    Kind,
    KubeForbidden,
    KubeNotFound,
)

pytestmark = pytest.mark.kube
DEADLINE_S = 60.0
COMMIT = "c" * 64
CHILDREN: Mapping[Kind, Mapping[str, Any]] = {
    CONFIG_MAP: {"data": {}},
    SECRET: {"data": {}},
    SERVICE: {"spec": {"ports": [{"name": "s3", "port": 7450, "protocol": "TCP"}]}},
    STATEFUL_SET: {"spec": objects.stateful_set("n")["spec"]},
}
EVENTS: Mapping[str, Any] = {"type": "Normal", "reason": "Tried", "involvedObject": {"kind": "CacheCluster"}}
Right = tuple[str, str, str]
"""API group, resource with its subresource, verb."""
IMPLIED = {
    # server-side apply that makes an object needs `create` besides `patch`
    *((("apps" if kind == STATEFUL_SET else ""), kind.plural, "create") for kind in (*CHILDREN, EVENT)),
    # owner references that block deletion need `update` of the owner's finalizers, where that is enforced
    *(("forebay.dev", f"{kind.plural}/finalizers", "update") for kind in (CACHE_CLUSTER, DATASET)),
}


@dataclass(frozen=True, slots=True)
class World:
    """A namespace with the chart's rights in it; `account` may what the operator may, `kube` everything."""

    server: Server
    namespace: str
    account: str
    kubeconfig: pathlib.Path
    kube: Kube
    rendered: Sequence[Object]

    @property
    def user(self) -> str:
        return f"system:serviceaccount:{self.namespace}:{self.account}"

    @property
    def granted(self) -> set[Right]:
        rules = [rule for role in of_kind(self.rendered, "Role") for rule in role["rules"]]
        return {right for rule in rules for right in rights(rule)}

    async def get(self, kind: Kind, name: str) -> Any:
        return await self.kube.get(Key(kind, self.namespace, name))

    async def until(self, done: Callable[[], Any], what: str) -> Any:
        """What `done` returns once that is true."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                while True:
                    try:
                        if found := await done():
                            return found
                    except KubeNotFound:
                        pass
                    await asyncio.sleep(0.05)
        except TimeoutError as exc:
            denied = [event["requestURI"] for event in self.server.audited(self.user) if code(event) == 403]
            raise AssertionError(f"not in {DEADLINE_S:g} s: {what}; denied: {denied}") from exc


@pytest.fixture
async def world(server: Server, helm: Helm, tmp_path: pathlib.Path) -> AsyncIterator[World]:
    namespace = server.namespace("restricted")
    rendered = helm.template(namespace)
    for kind in ("ServiceAccount", "Role", "RoleBinding"):
        for body in of_kind(rendered, kind):
            if body["metadata"]["namespace"] == namespace:
                status, reply = server.apply(body)
                assert status == 201, reply
    account = only(rendered, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"]
    kubeconfig = tmp_path / "kubeconfig"
    config = yaml.safe_load(server.plane.kubeconfig.read_text())
    config["users"] = [{"name": "t", "user": {"token": server.token(namespace, account)}}]
    kubeconfig.write_text(yaml.safe_dump(config))
    kube = await http.connect_file(str(server.plane.kubeconfig))
    yield World(server, namespace, account, kubeconfig, kube, rendered)
    await kube.aclose()


async def test_every_right_is_used_and_none_is_missing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(world.kubeconfig))
    ticks = itertools.count(1)
    member = OneMember(tick=lambda: next(ticks))
    async with operator(world, member):
        await story(world, member)
    events = [event for event in world.server.audited(world.user) if "objectRef" in event]
    denied = sorted({(*right_of(event), event["requestURI"]) for event in events if code(event) == 403})
    assert not denied, f"asked for and not granted: {denied}"
    used = {right_of(event) for event in events}
    unused = world.granted - used - IMPLIED
    assert not unused, f"granted and never asked for: {sorted(unused)}"
    assert {event["objectRef"]["namespace"] for event in events} == {world.namespace}


@pytest.mark.parametrize("right", sorted(IMPLIED), ids=" ".join)
async def test_what_the_log_does_not_show_is_needed_all_the_same(world: World, right: Right) -> None:
    cluster = await world.kube.apply(objects.cluster(world.namespace), manager="user")
    dataset = await world.kube.apply(objects.dataset(world.namespace), manager="user")
    owner = dataset if right[1].startswith(DATASET.plural) else cluster
    kind = next((kind for kind in (*CHILDREN, EVENT) if kind.plural == right[1]), SECRET)
    body = names.owned(Key(kind, world.namespace, "child"), owner, "main", **CHILDREN.get(kind, EVENTS))
    if kind == EVENT:
        body["involvedObject"] = {**body["involvedObject"], "namespace": world.namespace}
    kube = await http.connect_file(str(world.kubeconfig))
    try:
        role = without(
            only([one for one in of_kind(world.rendered, "Role") if "election" not in name(one)], "Role"), right
        )
        world.server.apply(role)
        await world.until(lambda: refused(kube, body), f"refused without {right}")
        world.server.apply(next(one for one in world.rendered if one["kind"] == "Role" and name(one) == name(role)))
        await world.until(lambda: accepted(kube, body), f"accepted with {right}")
    finally:
        await kube.aclose()


async def test_the_account_reads_no_secret_of_another_namespace(world: World) -> None:
    kube = await http.connect_file(str(world.kubeconfig))
    try:
        with pytest.raises(KubeForbidden):
            await kube.list(SECRET, "default")
        with pytest.raises(KubeForbidden):
            await kube.list(SECRET)
    finally:
        await kube.aclose()


async def story(world: World, member: OneMember) -> None:
    """Everything an operator does to the API server."""
    origin = objects.secret(world.namespace, "origin", AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b")
    await world.kube.apply(origin, manager="user")
    await world.kube.apply(objects.cluster(world.namespace), manager="user")
    source = {"name": "all", "s3": {"bucket": "photos"}, "credentials": {"secretRef": {"name": "origin"}}}
    await world.kube.apply(objects.dataset(world.namespace, sources=[source]), manager="user")
    await world.until(lambda: world.get(STATEFUL_SET, "main"), "a StatefulSet")
    await pod(world)
    await world.until(lambda: true(bool(member.syncs)), "a sync")
    dataset = await world.get(DATASET, "photos")
    member.end(dataset["metadata"]["uid"], COMMIT, 1_700_000_000_000)

    async def head() -> bool:
        found: Any = (await world.get(DATASET, "photos"))["status"].get("head", {})
        return bool(found.get("commit") == COMMIT)

    await world.until(head, "the commit adopted")
    await world.until(lambda: world.get(SECRET, "photos-s3"), "keys")
    owner = await world.get(CACHE_CLUSTER, "main")
    for kind, body in CHILDREN.items():
        orphan = names.owned(Key(kind, world.namespace, "orphan"), owner, "main", **body)
        await world.kube.apply(orphan, manager="somebody")
        await world.until(lambda kind=kind: gone(world, kind, "orphan"), f"{kind.kind} orphan gone")


async def pod(world: World) -> None:
    """What a StatefulSet controller and a kubelet would have done."""
    template = copy.deepcopy((await world.get(STATEFUL_SET, "main"))["spec"]["template"])
    metadata = {"name": "main-0", "namespace": world.namespace, "labels": template["metadata"]["labels"]}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}
    await world.kube.create({**body, "spec": template["spec"]})
    ready = [{"type": "Ready", "status": "True"}]
    status = {"phase": "Running", "podIP": ADDRESS, "podIPs": [{"ip": ADDRESS}], "conditions": ready}
    await world.kube.apply_status({**body, "status": status}, manager="kubelet")


@asynccontextmanager
async def operator(world: World, member: OneMember) -> AsyncIterator[None]:
    """The process's own parts, but for the member."""
    (container,) = only(world.rendered, "Deployment")["spec"]["template"]["spec"]["containers"]
    options = process.parse(container["args"], {"POD_NAMESPACE": world.namespace})
    kube = await http.connect_file(str(world.kubeconfig))
    candidate = Candidate(kube, options.lease, "test", Clock(process.boot_time, lambda: 0.0))
    parts = process.parts(kube, member, candidate, options, Telemetry())  # type: ignore[arg-type]
    task = asyncio.create_task(Engine(candidate, parts).run())
    try:
        yield
        assert not task.done(), task
    finally:
        task.cancel()
        await asyncio.wait({task})
        await kube.aclose()


async def true(value: bool) -> bool:
    return value


async def gone(world: World, kind: Kind, child: str) -> bool:
    try:
        await world.get(kind, child)
    except KubeNotFound:
        return True
    return False


async def refused(kube: Kube, body: Object) -> bool:
    try:
        await kube.apply(body, manager=FIELD_MANAGER, force=True)
    except KubeForbidden:
        return True
    await kube.delete(Key(kind_of(body), body["metadata"]["namespace"], name(body)))
    return False


async def accepted(kube: Kube, body: Object) -> bool:
    try:
        await kube.apply(body, manager=FIELD_MANAGER, force=True)
    except KubeForbidden:
        return False
    return True


def kind_of(body: Object) -> Kind:
    return next(kind for kind in (*CHILDREN, EVENT) if kind.kind == body["kind"])


def name(body: Object) -> str:
    return str(body["metadata"]["name"])


def rights(rule: Mapping[str, Any]) -> Iterator[Right]:
    yield from itertools.product(rule["apiGroups"], rule["resources"], rule["verbs"])


def without(role: Object, right: Right) -> Object:
    """A Role that grants all but that, a rule a right."""
    kept = [one for rule in role["rules"] for one in rights(rule) if one != right]
    rules = [{"apiGroups": [group], "resources": [resource], "verbs": [verb]} for group, resource, verb in kept]
    return {**role, "rules": rules}


def right_of(event: Mapping[str, Any]) -> Right:
    asked = event["objectRef"]
    resource = f"{asked['resource']}/{asked['subresource']}" if asked.get("subresource") else asked["resource"]
    return asked.get("apiGroup", ""), resource, event["verb"]


def code(event: Mapping[str, Any]) -> int:
    return int(event["responseStatus"]["code"])
