"""forebay status"""

import argparse
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from forebay_operator.cli.base import Parts, connect
from forebay_operator.cli.find import find_endpoint, pod_state
from forebay_operator.cli.output import age, short, size, write_json, write_rows
from forebay_operator.kube.base import Kube
from forebay_operator.model import CACHE_CLUSTER, DATASET, POD, NotReady, Object
from forebay_operator.names import CLUSTER_LABEL
from forebay_operator.runtime.sets import is_ready


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all-namespaces", "-A", action="store_true", help="not only those of --namespace")


async def run(args: argparse.Namespace, parts: Parts) -> None:
    namespace = None if args.all_namespaces else args.namespace
    async with connect(args, parts) as kube:
        clusters, datasets = [(await kube.list(kind, namespace)).items for kind in (CACHE_CLUSTER, DATASET)]
        pods = [pod for pod in (await kube.list(POD, namespace)).items if CLUSTER_LABEL in labels(pod)]
        endpoints = {cluster["metadata"]["uid"]: await endpoint(kube, cluster) for cluster in clusters}
    shown = [cluster_row(cluster, endpoints[cluster["metadata"]["uid"]]) for cluster in clusters]
    members = [member_row(pod, clusters, parts.now()) for pod in pods]
    listed = [dataset_row(dataset) for dataset in datasets]
    if args.output == "json":
        full = [{**s, "object": {**c, "metadata": bare(c)}} for s, c in zip(shown, clusters, strict=True)]
        whole = [{**s, "object": {**d, "metadata": bare(d)}} for s, d in zip(listed, datasets, strict=True)]
        write_json(parts.stdout, {"clusters": full, "members": members, "datasets": whole})
        return
    write_rows(
        parts.stdout, shown, empty=f"no CacheCluster in namespace {args.namespace}; `forebay apply -f` makes one"
    )
    if members:
        parts.stdout.write("\n")
        write_rows(parts.stdout, members, empty="")
    parts.stdout.write("\n")
    write_rows(parts.stdout, listed, empty=f"no Dataset in namespace {args.namespace}; `forebay apply -f` makes one")
    for line in troubles([*clusters, *datasets]):
        parts.stdout.write(f"\n{line}\n")


async def endpoint(kube: Kube, cluster: Object) -> str:
    with suppress(NotReady):
        return await find_endpoint(kube, cluster)
    return ""


def cluster_row(cluster: Object, endpoint: str) -> dict[str, str]:
    status: Mapping[str, Any] = cluster.get("status") or {}
    capacity = status.get("capacity") or {}
    return {
        "cluster": cluster["metadata"]["name"],
        "ready": condition(cluster, "Ready"),
        "members": f"{status.get('readyReplicas') or 0}/{cluster['spec'].get('replicas', 1)}",
        "used": f"{size(capacity['used'])} of {size(capacity['total'])}" if capacity else "-",
        "s3": endpoint or "-",
    }


def member_row(pod: Object, clusters: Sequence[Object], now: float) -> dict[str, str]:
    name = pod["metadata"]["name"]
    known = [m for cluster in clusters for m in (cluster.get("status") or {}).get("members") or () if m["name"] == name]
    statuses: Sequence[Mapping[str, Any]] = (pod.get("status") or {}).get("containerStatuses") or ({},)
    started = (pod.get("status") or {}).get("startTime")
    return {
        "member": name,
        "cluster": labels(pod)[CLUSTER_LABEL],
        "ready": str(is_ready(pod)),
        "restarts": str(statuses[0].get("restartCount", 0)),
        "used": size(known[0].get("usedBytes", 0)) if known else "-",
        "age": age(started, now) if started else "-",
        "state": pod_state(pod),
    }


def dataset_row(dataset: Object) -> dict[str, str]:
    status: Mapping[str, Any] = dataset.get("status") or {}
    head, sync, cached = (status.get(name) or {} for name in ("head", "sync", "cached"))
    listed = f" ({sync.get('listed', 0):,})" if sync.get("state") == "Running" else ""
    return {
        "dataset": dataset["metadata"]["name"],
        "ready": condition(dataset, "Ready"),
        "head": short(head.get("commit")),
        "files": f"{head['files']:,}" if head else "-",
        "size": size(head["bytes"]) if head else "-",
        "cached": f"{cached['percent']}%" if cached else "-",
        "sync": f"{sync.get('state', '-')}{listed}",
    }


def troubles(objects: Sequence[Object]) -> list[str]:
    """Conditions that keep an object from being ready, in words; what merely waits for another of them is left out."""
    return [
        f"{obj['kind']} {obj['metadata']['name']}: {c['type']}={c['status']} {c['reason']}: {c['message']}"
        for obj in objects
        for c in (obj.get("status") or {}).get("conditions") or ()
        if c["status"] == "False" and c["type"] not in ("Suspended", "CachePersistent")
    ]


def condition(obj: Object, name: str) -> str:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return next((str(c["status"]) for c in conditions if c["type"] == name), "Unknown")


def labels(obj: Object) -> Mapping[str, str]:
    found: Mapping[str, str] = obj["metadata"].get("labels") or {}
    return found


def bare(obj: Object) -> Mapping[str, Any]:
    return {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
