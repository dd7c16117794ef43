"""How commands find things: a Dataset, its cluster, a member that serves it, the S3 face and its keys."""

import argparse
import base64
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from forebay_operator import names
from forebay_operator.api.v1alpha1 import ADMIN_PORT
from forebay_operator.cli.base import named
from forebay_operator.cli.output import plural
from forebay_operator.desired import workload
from forebay_operator.kube.base import Kube
from forebay_operator.members.base import Member, Members
from forebay_operator.model import CACHE_CLUSTER, DATASET, POD, Key, KubeNotFound, NotReady, Object, Tls
from forebay_operator.runtime.controller import ROOT_ANNOTATION
from forebay_operator.runtime.sets import is_ready
from forebay_operator.tls import read_tls


@dataclass(frozen=True, slots=True)
class Access:
    """How a Dataset is read over S3. Never printed but by `forebay keys`."""

    endpoint: str
    bucket: str
    keys: tuple[str, str] | None
    """Access key id and secret; None where anyone may read."""


async def find_dataset(kube: Kube, args: argparse.Namespace) -> Object:
    """Raises KubeNotFound that names the Datasets of its namespace: others may be none of the caller's business."""
    namespace, name = named(args, args.dataset)
    try:
        return await kube.get(Key(DATASET, namespace, name))
    except KubeNotFound as exc:
        there = [f"{namespace}/{one['metadata']['name']}" for one in (await kube.list(DATASET, namespace)).items]
        none = f"namespace {namespace} has none; `-n` names another, `forebay apply -f FILE` makes one"
        known = f"there are: {', '.join(there[:10])}" if there else none
        raise KubeNotFound(f"no Dataset {namespace}/{name}: {known}") from exc


async def find_cluster(kube: Kube, dataset: Object) -> Object:
    metadata, name = dataset["metadata"], dataset["spec"]["clusterRef"]["name"]
    try:
        return await kube.get(Key(CACHE_CLUSTER, metadata["namespace"], name))
    except KubeNotFound as exc:
        raise KubeNotFound(
            f"Dataset {metadata['name']} wants CacheCluster {name}, and there is none: apply it"
        ) from exc


async def serving_pod(kube: Kube, cluster: Object) -> Object:
    """A member's pod that is ready. Raises NotReady that says why none is."""
    pods = await cluster_pods(kube, cluster)
    ready = next((pod for pod in pods if is_ready(pod)), None)
    if ready is None:
        why = "; ".join(f"{pod['metadata']['name']}: {pod_state(pod)}" for pod in pods) or "it has no pods"
        raise NotReady(f"no member of CacheCluster {cluster['metadata']['name']} is ready: {why}")
    return ready


async def cluster_pods(kube: Kube, cluster: Object) -> Sequence[Object]:
    metadata = cluster["metadata"]
    return (await kube.list(POD, metadata["namespace"], {names.CLUSTER_LABEL: metadata["name"]})).items


def pod_state(pod: Object) -> str:
    """What a pod is doing, in a few words."""
    statuses: Sequence[Mapping[str, Any]] = (pod.get("status") or {}).get("containerStatuses") or ()
    if is_ready(pod):
        return "ready"
    if any(status.get("restartCount") or status.get("lastState") for status in statuses):
        return restarted(statuses[0])
    waits = [w for s in statuses if (w := (s.get("state") or {}).get("waiting"))]
    return ", ".join(filter(None, (waits[0].get("reason"), waits[0].get("message")))) if waits else "running, not ready"


def restarted(status: Mapping[str, Any]) -> str:
    """Why a container ended last, and how often it was started again."""
    last = (status.get("lastState") or {}).get("terminated") or {}
    said = f": {last['message']}" if last.get("message") else ""
    how = (
        f"ended by signal {last['signal']}"
        if last.get("signal")
        else f"ended with exit code {last.get('exitCode', '?')}"
    )
    return f"{how}{said}, restarted {plural(status.get('restartCount', 0), 'time')}"


async def find_member(kube: Kube, members: Members, cluster: Object) -> Member:
    """Admin API of a member that is ready, with the operator's certificate."""
    pod = await serving_pod(kube, cluster)
    return members.at(pod["status"]["podIP"], ADMIN_PORT, await _tls(kube, cluster))


async def find_members(kube: Kube, members: Members, cluster: Object) -> Mapping[str, Member]:
    """Admin APIs of all members, by pod. Raises NotReady unless every one is ready."""
    pods = await cluster_pods(kube, cluster)
    waiting = [f"{pod['metadata']['name']}: {pod_state(pod)}" for pod in pods if not is_ready(pod)]
    if waiting or not pods:
        why = "; ".join(waiting) or "it has no pods"
        raise NotReady(f"not every member of CacheCluster {cluster['metadata']['name']} is ready: {why}")
    tls = await _tls(kube, cluster)
    return {pod["metadata"]["name"]: members.at(pod["status"]["podIP"], ADMIN_PORT, tls) for pod in pods}


async def _tls(kube: Kube, cluster: Object) -> Tls:
    key = names.operator_tls(cluster["metadata"]["namespace"], cluster["metadata"]["name"])
    tls = read_tls(dict((await kube.get(key)).get("data") or {}))
    if tls is None:
        raise NotReady(f"{key} is not whole: the operator writes it")
    return tls


async def find_access(kube: Kube, dataset: Object) -> Access:
    metadata, status = dataset["metadata"], dataset.get("status") or {}
    cluster = await find_cluster(kube, dataset)
    bucket = status.get("bucket") or dataset["spec"].get("s3", {}).get("bucket") or metadata["name"]
    endpoint = await find_endpoint(kube, cluster)
    if dataset["spec"].get("s3", {}).get("access") == "Anonymous":
        return Access(endpoint, bucket, None)
    key = names.keys(metadata["namespace"], metadata["name"])
    try:
        data = decoded(await kube.get(key))
    except KubeNotFound as exc:
        raise NotReady(f"{key} is not there yet: the operator writes it once the cluster is ready") from exc
    return Access(endpoint, bucket, (data["AWS_ACCESS_KEY_ID"], data["AWS_SECRET_ACCESS_KEY"]))


async def find_endpoint(kube: Kube, cluster: Object) -> str:
    """URL of the S3 face: of a local pod its own address, for nothing resolves a Service's name there."""
    port = cluster["spec"].get("s3", {}).get("port", 7450)
    with suppress(NotReady):
        pod = await serving_pod(kube, cluster)
        if local_root(pod) is not None:
            return f"http://{pod['status']['podIP']}:{port}"
    endpoint = (cluster.get("status") or {}).get("endpoint")
    if not endpoint:
        raise NotReady(f"CacheCluster {cluster['metadata']['name']} has no S3 endpoint yet: `forebay status` says why")
    return str(endpoint)


def local_root(pod: Object) -> str | None:
    """Root directory of a pod that `forebay up` runs."""
    return (pod["metadata"].get("annotations") or {}).get(ROOT_ANNOTATION)


def node_socket(pod: Object) -> str:
    """Path of a member's node socket as the machine sees it."""
    return (local_root(pod) or "") + workload.NODE_SOCKET


def decoded(secret: Object) -> Mapping[str, str]:
    return {name: base64.b64decode(value).decode() for name, value in (secret.get("data") or {}).items()}


def head_of(dataset: Object) -> str:
    """The commit that readers of Latest see. Raises NotReady before the first sync."""
    status: Mapping[str, Any] = dataset.get("status") or {}
    version = dataset["spec"].get("version") or {}
    commit = version.get("commit") or (status.get("head") or {}).get("commit")
    if not commit:
        said = "; ".join(c["message"] for c in status.get("conditions") or () if c["type"] == "Synced")
        raise NotReady(
            f"Dataset {dataset['metadata']['name']} has no commit yet: {said or 'its first sync has not ended'}"
        )
    return str(commit)


def full_commit(given: str, dataset: Object) -> str:
    """The commit that `given` (an id or its first letters) names. Raises KubeNotFound."""
    kept = [c["id"] for c in (dataset.get("status") or {}).get("commits") or ()]
    fits = [commit for commit in kept if commit.startswith(given)]
    if len(fits) == 1 or given in fits:
        return given if given in fits else str(fits[0])
    name, why = dataset["metadata"]["name"], "is not unique" if fits else "is none that is kept"
    raise KubeNotFound(f"Dataset {name}: commit {given} {why}: `forebay commits {name}` lists them")
