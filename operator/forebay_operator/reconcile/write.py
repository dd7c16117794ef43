"""Writes status documents, and times as they have them."""

import datetime as dt

from forebay_operator.api import v1alpha1 as api
from forebay_operator.kube.base import Kube
from forebay_operator.model import FIELD_MANAGER, KubeConflict, KubeNotFound, Object

Status = api.CacheClusterStatus | api.DatasetStatus


async def write_status(kube: Kube, live: Object, before: Status, after: Status) -> bool:
    """Writes what changed onto the version that was decided from, so that a head moves by compare-and-swap -> whether
    that still was the newest."""
    if after == before:
        return True
    metadata = live["metadata"]
    body = {
        "apiVersion": live["apiVersion"],
        "kind": live["kind"],
        "metadata": {name: metadata[name] for name in ("name", "namespace", "uid", "resourceVersion")},
        "status": after.model_dump(by_alias=True, exclude_none=True, mode="json"),
    }
    try:
        await kube.apply_status(body, manager=FIELD_MANAGER, force=True)
    except (KubeConflict, KubeNotFound):
        return False
    return True


def rfc3339(milliseconds: int) -> str:
    return dt.datetime.fromtimestamp(milliseconds // 1000, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
