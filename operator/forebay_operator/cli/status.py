"""forebay status"""

import argparse
import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from forebay_cache.contract.admin import DatasetReport, MemberReport
from forebay_operator.cli.advice import conditions, troubles
from forebay_operator.cli.base import Parts, connect
from forebay_operator.cli.find import find_endpoint, find_members, head_of, pod_state
from forebay_operator.cli.output import age, bare, short, size, write_json, write_rows
from forebay_operator.kube.base import Kube
from forebay_operator.model import CACHE_CLUSTER, DATASET, POD, NotReady, Object, OperatorError
from forebay_operator.names import CLUSTER_LABEL
from forebay_operator.runtime.sets import is_ready

Seen = Mapping[str, Any]
"""What is known of one object, as `-o json` gives it."""
Reports = Mapping[str, MemberReport]
"""By pod."""
LIVE_S = 2.0
EXAMPLES = """\
forebay status                  clusters, members and Datasets, and what is wrong with them
forebay status -o json          the same for programs: numbers as numbers, each object whole"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all-namespaces", "-A", action="store_true", help="not only those of --namespace")


async def run(args: argparse.Namespace, parts: Parts) -> None:
    namespace = None if args.all_namespaces else args.namespace
    async with connect(args, parts) as kube:
        clusters, datasets = [(await kube.list(kind, namespace)).items for kind in (CACHE_CLUSTER, DATASET)]
        pods = [pod for pod in (await kube.list(POD, namespace)).items if CLUSTER_LABEL in labels(pod)]
        endpoints = [await endpoint(kube, cluster) for cluster in clusters]
        reports = [await live(kube, parts, cluster) for cluster in clusters]
    now = {
        (c["metadata"]["namespace"], name): one
        for c, r in zip(clusters, reports, strict=True)
        for name, one in r.items()
    }
    seen = {
        "clusters": [cluster_seen(*three) for three in zip(clusters, endpoints, reports, strict=True)],
        "members": [member_seen(pod, clusters, now) for pod in pods],
        "datasets": [dataset_seen(dataset, list(now.values())) for dataset in datasets],
    }
    if args.output == "json":
        write_json(parts.stdout, seen)
        return
    lacks = f"in namespace {args.namespace}; `forebay apply -f` makes one"
    write_rows(parts.stdout, [cluster_row(one) for one in seen["clusters"]], empty=f"no CacheCluster {lacks}")
    if pods:
        parts.stdout.write("\n")
        write_rows(parts.stdout, [member_row(one, parts.now()) for one in seen["members"]], empty="")
    parts.stdout.write("\n")
    write_rows(parts.stdout, [dataset_row(one) for one in seen["datasets"]], empty=f"no Dataset {lacks}")
    for line in [line for obj in [*clusters, *datasets] for line in troubles(obj)]:
        parts.stdout.write(f"\n{line}\n")


async def live(kube: Kube, parts: Parts, cluster: Object) -> Reports:
    """What the members say now, for the API is told of small changes late; nothing where they cannot or may not be asked."""
    members = parts.members()
    try:
        async with asyncio.timeout(LIVE_S):
            found = await find_members(kube, members, cluster)
            return {pod: await member.report() for pod, member in found.items()}
    except (OperatorError, TimeoutError):
        return {}
    finally:
        await members.aclose()


async def endpoint(kube: Kube, cluster: Object) -> str | None:
    with suppress(NotReady):
        return await find_endpoint(kube, cluster)
    return None


def cluster_seen(cluster: Object, endpoint: str | None, reports: Reports) -> Seen:
    status: Mapping[str, Any] = cluster.get("status") or {}
    total, used = (sum(one.capacity_bytes for one in reports.values()), sum(one.used_bytes for one in reports.values()))
    return {
        "cluster": cluster["metadata"]["name"],
        "ready": is_true(cluster, "Ready"),
        "members": cluster["spec"].get("replicas", 1),
        "readyMembers": status.get("readyReplicas") or 0,
        "capacity": {"total": total, "used": used} if reports else status.get("capacity"),
        "endpoint": endpoint,
        "object": bare(cluster),
    }


def member_seen(pod: Object, clusters: Sequence[Object], now: Mapping[tuple[str, str], MemberReport]) -> Seen:
    report = now.get((pod["metadata"]["namespace"], pod["metadata"]["name"]))
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    known = [m for cluster in clusters for m in (cluster.get("status") or {}).get("members") or () if m["name"] == name]
    containers: Sequence[Mapping[str, Any]] = status.get("containerStatuses") or ({},)
    return {
        "member": name,
        "cluster": labels(pod)[CLUSTER_LABEL],
        "ready": is_ready(pod),
        "restarts": containers[0].get("restartCount", 0),
        "usedBytes": report.used_bytes if report else known[0].get("usedBytes", 0) if known else None,
        "startTime": status.get("startTime"),
        "state": pod_state(pod),
    }


def dataset_seen(dataset: Object, reports: Sequence[MemberReport]) -> Seen:
    status: Mapping[str, Any] = dataset.get("status") or {}
    rows = rows_of(dataset, reports)
    head, sync, cached = (status.get(name) or {} for name in ("head", "sync", "cached"))
    return {
        "dataset": dataset["metadata"]["name"],
        "ready": is_true(dataset, "Ready"),
        "head": head.get("commit"),
        "serves": served(dataset),
        "files": head.get("files"),
        "bytes": head.get("bytes"),
        "cachedPercent": cached_now(dataset, reports, cached.get("percent")),
        "chargedBytes": sum(row.charged_bytes for row in rows) if rows else None,
        "cache": dataset["spec"].get("cache") or {},
        "sync": sync.get("state"),
        "listed": sync.get("listed", 0),
        "object": bare(dataset),
    }


def cached_now(dataset: Object, reports: Sequence[MemberReport], told: int | None) -> int | None:
    """Percent of the head; `told` where no member says anything of the Dataset."""
    rows = rows_of(dataset, reports)
    whole = ((dataset.get("status") or {}).get("head") or {}).get("bytes")
    return min(100, sum(row.cached_bytes for row in rows) * 100 // whole) if rows and whole else told


def rows_of(dataset: Object, reports: Sequence[MemberReport]) -> Sequence[DatasetReport]:
    return [row for one in reports for row in one.datasets if row.uid == dataset["metadata"]["uid"]]


def cluster_row(seen: Seen) -> dict[str, str]:
    capacity = seen["capacity"]
    return {
        "cluster": seen["cluster"],
        "ready": said(seen["ready"]),
        "members": f"{seen['readyMembers']}/{seen['members']}",
        "used": f"{size(capacity['used'])} of {size(capacity['total'])}" if capacity else "-",
        "s3": seen["endpoint"] or "-",
    }


def member_row(seen: Seen, now: float) -> dict[str, str]:
    return {
        "member": seen["member"],
        "cluster": seen["cluster"],
        "ready": said(seen["ready"]),
        "restarts": str(seen["restarts"]),
        "used": "-" if seen["usedBytes"] is None else size(seen["usedBytes"]),
        "age": age(seen["startTime"], now) if seen["startTime"] else "-",
        "state": seen["state"],
    }


def dataset_row(seen: Seen) -> dict[str, str]:
    """`serves` is the head, unless an older commit is pinned."""
    pinned = seen["serves"] is not None and seen["serves"] != seen["head"]
    listed = f" ({seen['listed']:,})" if seen["sync"] == "Running" else ""
    return {
        "dataset": seen["dataset"],
        "ready": said(seen["ready"]),
        "head": short(seen["head"]),
        "serves": f"{short(seen['serves'])} (pinned)" if pinned else short(seen["serves"]),
        "files": "-" if seen["files"] is None else f"{seen['files']:,}",
        "size": "-" if seen["bytes"] is None else size(seen["bytes"]),
        "cached": "-" if seen["cachedPercent"] is None else f"{seen['cachedPercent']}%",
        "disk": disk(seen),
        "sync": f"{seen['sync'] or '-'}{listed}",
    }


def disk(seen: Seen) -> str:
    """What the Dataset uses of the members' disks, and the most it may."""
    used = "-" if seen["chargedBytes"] is None else size(seen["chargedBytes"])
    return f"{used} of {seen['cache']['max']}" if seen["cache"].get("max") else used


def served(dataset: Object) -> str | None:
    """The commit that readers of Latest see."""
    with suppress(NotReady):
        return head_of(dataset)
    return None


def is_true(obj: Object, name: str) -> bool | None:
    """None: nobody said yet."""
    return next((c["status"] == "True" for c in conditions(obj) if c["type"] == name), None)


def said(value: bool | None) -> str:  # noqa: FBT001 - it is what is shown
    return "Unknown" if value is None else str(value)


def labels(obj: Object) -> Mapping[str, str]:
    found: Mapping[str, str] = obj["metadata"].get("labels") or {}
    return found
