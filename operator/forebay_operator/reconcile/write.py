"""Writes status documents, and times as they have them."""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from forebay_operator.kube.base import Kube
from forebay_operator.model import FIELD_MANAGER, KubeConflict, KubeNotFound, Object
from forebay_operator.reconcile.news import News, Status, news

Tell = Callable[[Object, Sequence[News]], None]
"""Passes news of an object on, at once."""


@dataclass(frozen=True, slots=True)
class StatusWriter:
    kube: Kube
    tell: Tell

    async def write(self, live: Object, before: Status, after: Status) -> bool:
        """Writes what changed onto the version that was decided from, so that a head moves by compare-and-swap -> whether
        that still was the newest. News is told once it is written, so once."""
        if after == before:
            return True
        try:
            await self.kube.apply_status(status_of(live, after), manager=FIELD_MANAGER, force=True)
        except (KubeConflict, KubeNotFound):
            return False
        self.tell(live, news(before, after))
        return True


def status_of(live: Object, after: Status) -> Object:
    metadata = live["metadata"]
    return {
        "apiVersion": live["apiVersion"],
        "kind": live["kind"],
        "metadata": {name: metadata[name] for name in ("name", "namespace", "uid", "resourceVersion")},
        "status": after.model_dump(by_alias=True, exclude_none=True, mode="json"),
    }


def rfc3339(milliseconds: int) -> str:
    return dt.datetime.fromtimestamp(milliseconds // 1000, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
