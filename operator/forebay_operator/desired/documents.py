"""Documents that members read: their configuration, and the state of the cluster. Pure."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from forebay_cache.contract.config import (
    AccessKey,
    CacheRules,
    ClusterState,
    Credentials,
    DatasetState,
    DirectorySource,
    MemberConfig,
    S3Source,
    Source,
)
from forebay_operator import names
from forebay_operator.api import v1alpha1 as api
from forebay_operator.api.cache import Cache
from forebay_operator.api.fields import seconds, whole_bytes
from forebay_operator.desired import workload
from forebay_operator.facts import STATE_FILE, Facts, bucket, served_head
from forebay_operator.model import Manifest, Object

CONFIG_FILE = "member.json"
CATALOG_SHARE = 20
"""One part in this many of the capacity is left to the catalog and what else is on the disk."""


@dataclass(frozen=True, slots=True)
class Origins:
    """Keys of a Dataset's sources, by source name; a source without is read by the members' own identity."""

    credentials: Mapping[str, Credentials]


def config_map(owner: Object, spec: api.CacheClusterSpec) -> Manifest:
    namespace, cluster = owner["metadata"]["namespace"], owner["metadata"]["name"]
    capacity = whole_bytes(spec.storage.capacity)
    document = MemberConfig(
        cluster=f"{namespace}/{cluster}",
        cluster_uid=owner["metadata"]["uid"],
        store_path=f"{workload.DATA_DIR}/store",
        catalog_path=f"{workload.DATA_DIR}/catalog",
        capacity_bytes=capacity - capacity // CATALOG_SHARE,
        high_watermark_percent=spec.high_watermark_percent,
        low_watermark_percent=spec.low_watermark_percent,
        eviction=spec.eviction,
        data_port=spec.s3.port,
        admin_port=api.ADMIN_PORT,
        peer_port=api.PEER_PORT,
        admin_tls=workload.TLS_DIR,
        node_socket=workload.NODE_SOCKET,
        state_path=f"{workload.STATE_DIR}/{STATE_FILE}",
    )
    key = names.config(namespace, cluster)
    return Manifest(key, names.owned(key, owner, cluster, data={CONFIG_FILE: document.model_dump_json(indent=1)}))


def state_secret(owner: Object, state: ClusterState) -> Manifest:
    key = names.state(owner["metadata"]["namespace"], owner["metadata"]["name"])
    data = {STATE_FILE: base64.b64encode(state.model_dump_json().encode()).decode()}
    return Manifest(key, names.owned(key, owner, owner["metadata"]["name"], type="Opaque", data=data))


def wanted_state(facts: Facts, taken: frozenset[str]) -> ClusterState:
    """The state of a cluster's Datasets, but those whose bucket another has. What this operator cannot read stays."""
    states = [
        dataset_state(one.model, one.uid, one.keys, Origins(one.credentials))
        for one in facts.datasets
        if one.uid not in taken
    ]
    left = [one for one in (facts.state.datasets if facts.state else ()) if one.uid in facts.unreadable]
    ordered = sorted([*states, *left], key=lambda one: (one.name, one.uid))
    return cluster_state(facts.uid, ordered, facts.state, facts.pushed_version)


def cluster_state(
    cluster_uid: str, datasets: Sequence[DatasetState], before: ClusterState | None, pushed: int
) -> ClusterState:
    """The state members should have. Its version rises exactly when its content changes, and where a member has a higher
    one than is written down: `pushed`, of a state whose durable copy was lost."""
    version = before.version if before else 0
    wanted = ClusterState(version=version, cluster_uid=cluster_uid, datasets=tuple(datasets))
    same = wanted == before and pushed <= version
    return wanted if same else wanted.model_copy(update={"version": max(version, pushed) + 1})


def dataset_state(dataset: api.Dataset, uid: str, keys: AccessKey | None, origins: Origins) -> DatasetState:
    status, spec = dataset.status, dataset.spec
    head = served_head(dataset)
    return DatasetState(
        uid=uid,
        namespace=dataset.metadata.namespace or "default",
        name=dataset.metadata.name,
        bucket=bucket(dataset),
        anonymous=spec.s3.access == "Anonymous",
        access_keys=(keys,) if keys else (),
        sources=tuple(_source(source, origins.credentials.get(source.name)) for source in spec.sources),
        head=head,
        retained=tuple(commit.id for commit in status.commits if commit.id != head),
        cache=_cache(spec.cache),
    )


def _cache(asked: Cache) -> CacheRules:
    return CacheRules(
        policy=asked.policy,
        priority=asked.priority,
        pin=asked.pin == "All",
        idle_ttl_s=int(seconds(asked.idle_ttl)) if asked.idle_ttl else 0,
        guaranteed_bytes=whole_bytes(asked.guaranteed) if asked.guaranteed else 0,
        max_bytes=max(1, whole_bytes(asked.max)) if asked.max else 0,
    )


def _source(source: api.Source, credentials: Credentials | None) -> Source:
    s3, directory = source.s3, source.directory
    return Source(
        name=source.name,
        path=source.path,
        s3=S3Source(**s3.model_dump()) if s3 else None,
        directory=DirectorySource(**directory.model_dump()) if directory else None,
        credentials=credentials,
    )
