"""Names, labels, owners and digests of what belongs to a cluster or a Dataset. Pure."""

from collections.abc import Mapping
from typing import Any

from forebay_operator.model import (
    CACHE_CLUSTER,
    CONFIG_MAP,
    DATASET,
    FIELD_MANAGER,
    SECRET,
    SERVICE,
    STATEFUL_SET,
    Key,
    Kind,
    Manifest,
    Object,
)

CLUSTER_LABEL = "forebay.dev/cluster"
OURS: Mapping[str, str] = {"app.kubernetes.io/managed-by": "forebay"}
"""Label of every object we make, and of the pods of our StatefulSets."""
DIGEST = "forebay.dev/digest"
SYNC_REQUEST = "forebay.dev/sync"
"""Annotation of a Dataset: a new value asks for a sync now."""


def member_set(namespace: str, cluster: str) -> Key:
    return Key(STATEFUL_SET, namespace, cluster)


def config(namespace: str, cluster: str) -> Key:
    return Key(CONFIG_MAP, namespace, f"{cluster}-config")


def state(namespace: str, cluster: str) -> Key:
    """Secret: the durable copy of ClusterState, because it holds keys."""
    return Key(SECRET, namespace, f"{cluster}-state")


def membership(namespace: str, cluster: str) -> Key:
    """ConfigMap: the newest epoch. What is here is true; members have copies."""
    return Key(CONFIG_MAP, namespace, f"{cluster}-membership")


def authority(namespace: str, cluster: str) -> Key:
    """Secret: the cluster's own certificate authority. Only the operator reads it."""
    return Key(SECRET, namespace, f"{cluster}-ca")


def member_tls(namespace: str, cluster: str) -> Key:
    return Key(SECRET, namespace, f"{cluster}-admin")


def operator_tls(namespace: str, cluster: str) -> Key:
    """Secret: with it the operator and the CLI speak to members' admin ports."""
    return Key(SECRET, namespace, f"{cluster}-operator")


def peers(namespace: str, cluster: str) -> Key:
    """Headless Service that gives members their names."""
    return Key(SERVICE, namespace, f"{cluster}-members")


def s3(namespace: str, cluster: str) -> Key:
    """Service that clients use."""
    return Key(SERVICE, namespace, f"{cluster}-s3")


def keys(namespace: str, dataset: str) -> Key:
    """Secret with which a Dataset is read over S3."""
    return Key(SECRET, namespace, f"{dataset}-s3")


def of_cluster(namespace: str, cluster: str) -> frozenset[Key]:
    """Every object a cluster may have; what else carries its label and its reference is an orphan."""
    made = (member_set, config, state, membership, authority, member_tls, operator_tls, peers, s3)
    return frozenset(name(namespace, cluster) for name in made)


def is_ours(entry: Mapping[str, Any]) -> bool:
    """Whether an entry of managedFields is what we applied."""
    mine = (entry.get("manager"), entry.get("operation"), entry.get("subresource", ""))
    return mine == (FIELD_MANAGER, "Apply", "")


def is_controlled(one: Object, uid: str) -> bool:
    """Whether an object belongs to the owner with this UID. A name or a label does not make it ours."""
    references = one["metadata"].get("ownerReferences") or ()
    return any(reference.get("controller") and reference["uid"] == uid for reference in references)


def labels(cluster: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "forebay",
        "app.kubernetes.io/component": "member",
        **OURS,
        CLUSTER_LABEL: cluster,
    }


def owned(key: Key, owner: Object, cluster: str, **body: Any) -> dict[str, Any]:
    """A manifest of ours: labelled, and collected with its owner."""
    return {
        "apiVersion": key.kind.api_version,
        "kind": key.kind.kind,
        "metadata": {
            "name": key.name,
            "namespace": key.namespace,
            "labels": labels(cluster),
            "ownerReferences": [owner_reference(owner)],
        },
        **body,
    }


def owner_reference(owner: Object) -> Mapping[str, Any]:
    kind: Kind = {kind.kind: kind for kind in (CACHE_CLUSTER, DATASET)}[owner["kind"]]
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def stamped(manifest: Manifest) -> Object:
    """The body to write: with its digest."""
    metadata = manifest.body["metadata"]
    annotations = {**metadata.get("annotations", {}), DIGEST: manifest.digest}
    return {**manifest.body, "metadata": {**metadata, "annotations": annotations}}
