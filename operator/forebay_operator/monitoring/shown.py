"""What the operator shows of each cluster: whose it is, and how many members it has. Alerts take owner and origin from here,
so that no rule has to be written when a cluster comes or goes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from forebay_cache.contract import metrics
from forebay_cache.telemetry import Labels, Telemetry
from forebay_operator.monitoring.render.resources import Cluster


@dataclass(frozen=True, slots=True)
class Shown:
    """One cluster as the last look found it. `ready`: members."""

    cluster: Cluster
    ready: int


def show(telemetry: Telemetry, clusters: Callable[[], Iterable[Shown]]) -> None:
    """`clusters` is asked at each scrape."""
    telemetry.show(metrics.CLUSTER_INFO, lambda: {info(one.cluster): 1 for one in clusters()})
    telemetry.show(metrics.MEMBERS_DESIRED, lambda: {where(one.cluster): one.cluster.members for one in clusters()})
    telemetry.show(metrics.MEMBERS_READY, lambda: {where(one.cluster): one.ready for one in clusters()})


def where(cluster: Cluster) -> Labels:
    return cluster.namespace, cluster.name


def info(cluster: Cluster) -> Labels:
    return *where(cluster), cluster.owner, cluster.tier, cluster.origins[0] if cluster.origins else ""
