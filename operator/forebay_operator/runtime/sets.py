"""What the StatefulSet controller decides. Pure: a set and its pods in, steps and a status out.

Updates are OnDelete and claims are retained, whatever the set says: the operator orders restarts, and a cache is deleted
with its state directory.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forebay_operator.model import POD, STATEFUL_SET, Key, Object

REVISION_LABEL = "controller-revision-hash"


@dataclass(frozen=True, slots=True)
class Create:
    body: Object


@dataclass(frozen=True, slots=True)
class Delete:
    key: Key
    uid: str


def steps(owner: Object, pods: Sequence[Object], ending: Collection[str]) -> list[Create | Delete]:
    """Writes that bring the pods of a set to its replicas.

    `ending`: names whose processes have not ended yet. They are not started again before they have, for a store has one
    keeper; and in an ordered set the next pod waits for them, as it waits for the one before it to be ready.
    """
    spec = owner["spec"]
    ordered = spec.get("podManagementPolicy", "OrderedReady") == "OrderedReady"
    here = {ordinal(pod): pod for pod in pods}
    surplus = [here[n] for n in sorted(here, reverse=True) if n >= spec.get("replicas", 1)]
    if surplus:
        waits = ordered and ending
        return [] if waits else [delete(pod) for pod in (surplus[:1] if ordered else surplus)]
    made: list[Create | Delete] = []
    for number in range(spec.get("replicas", 1)):
        missing = number not in here
        if missing and pod_name(owner, number) not in ending:
            made.append(Create(pod_of(owner, number)))
        if ordered and (missing or not is_ready(here[number])):
            break
    return made


def delete(pod: Object) -> Delete:
    metadata = pod["metadata"]
    return Delete(Key(POD, metadata["namespace"], metadata["name"]), metadata["uid"])


def pod_of(owner: Object, number: int) -> Object:
    """The pod with this ordinal, as the set's template has it now."""
    spec, metadata = owner["spec"], owner["metadata"]
    template, name = spec["template"], pod_name(owner, number)
    claims = [claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates") or ()]
    volumes = [{"name": c, "persistentVolumeClaim": {"claimName": f"{c}-{name}"}} for c in claims]
    labels = {
        **(template["metadata"].get("labels") or {}),
        REVISION_LABEL: revision(owner),
        "statefulset.kubernetes.io/pod-name": name,
        "apps.kubernetes.io/pod-index": str(number),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "labels": labels,
            "annotations": dict(template["metadata"].get("annotations") or {}),
            "ownerReferences": [reference(owner)],
        },
        "spec": {
            **template["spec"],
            "hostname": name,
            "volumes": [*(v for v in template["spec"].get("volumes") or () if v["name"] not in claims), *volumes],
        },
    }


def reference(owner: Object) -> Mapping[str, Any]:
    kind, metadata = STATEFUL_SET, owner["metadata"]
    names = {"apiVersion": kind.api_version, "kind": kind.kind, "name": metadata["name"], "uid": metadata["uid"]}
    return {**names, "controller": True}


def set_status(owner: Object, pods: Sequence[Object]) -> Mapping[str, Any]:
    """Status as the StatefulSet controller writes it."""
    wanted, previous = revision(owner), owner.get("status") or {}
    updated = [pod for pod in pods if pod["metadata"]["labels"].get(REVISION_LABEL) == wanted]
    current = wanted if len(updated) == len(pods) else previous.get("currentRevision", wanted)
    ready = sum(map(is_ready, pods))
    return {
        "observedGeneration": owner["metadata"].get("generation", 1),
        "replicas": len(pods),
        "readyReplicas": ready,
        "availableReplicas": ready,
        "currentReplicas": sum(pod["metadata"]["labels"].get(REVISION_LABEL) == current for pod in pods),
        "updatedReplicas": len(updated),
        "currentRevision": current,
        "updateRevision": wanted,
    }


def revision(owner: Object) -> str:
    """Names a template: the same template, the same revision."""
    template = json.dumps(owner["spec"]["template"], sort_keys=True).encode()
    return f"{owner['metadata']['name']}-{hashlib.sha256(template).hexdigest()[:10]}"


def pod_name(owner: Object, number: int) -> str:
    return f"{owner['metadata']['name']}-{number}"


def ordinal(pod: Object) -> int:
    return int(pod["metadata"]["name"].rpartition("-")[2])


def is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
