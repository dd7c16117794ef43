"""What keeps an object from being ready, and what a person can do about it. Pure.

Several conditions may tell of one cause (refused keys: CredentialsValid, OriginReachable, Synced); it is said once.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from forebay_operator.api import conditions as words
from forebay_operator.model import Object

HARMLESS = frozenset({words.SUSPENDED, words.CACHE_PERSISTENT})
"""Their False is a state, not a trouble."""
CONSEQUENCES = frozenset({"NeverSynced", "Running"})
"""Reasons that say nothing where another condition is False as well."""
BLOCKING = frozenset({"SecretMissing", "SecretIncomplete", "BucketTaken", "ClusterMissing"})
"""Reasons for which no sync is started."""
ADVICE: Mapping[str, str] = {
    # reason -> the next step; {name}: the object, {secrets}, {origins} and {cluster}: what its spec names
    "OriginDenied": "check the keys in {secrets} and what they may read at {origins}, and apply the Secret again",
    "OriginMissing": "check bucket, endpoint and region (or path) of spec.sources: {origins}",
    "OriginUnavailable": "check that {origins} can be reached from here; it is tried again by itself",
    "SecretMissing": "apply that Secret",
    "SecretIncomplete": "it needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; apply it again",
    "BucketTaken": "give this Dataset another spec.s3.bucket",
    "ClusterMissing": "apply a CacheCluster named {cluster}",
    "PinMissing": "`forebay commits {name}` lists what is kept, `forebay rollback {name} --latest` serves the newest",
    "CatalogFull": "give CacheCluster {cluster} a larger spec.storage.capacity, or its disk more room",
    "SecretTaken": "delete or rename Secret {name}-s3",
    "KeysNotMountable": "`forebay cat` and S3 clients read them; rename them at the origin to see them in mounts",
}


def troubles(obj: Object) -> list[str]:
    """A line for each cause, with the next step where there is one; what merely waits for another of them is left out."""
    found = [f"{type_}={status} {reason}: {advised(reason, said, obj)}" for type_, status, reason, said in causes(obj)]
    return [f"{obj['kind']} {obj['metadata']['name']}: {line}" for line in found]


def causes(obj: Object) -> Iterator[tuple[str, str, str, str]]:
    """(type, status, reason, message) of conditions that are False, without those that another one explains."""
    false = [c for c in conditions(obj) if c["status"] == "False" and c["type"] not in HARMLESS]
    first = [c for c in false if c["reason"] not in CONSEQUENCES]
    told = set[tuple[str, str]]()
    for c in first or false:
        if (c["reason"], c["message"]) not in told:
            told.add((c["reason"], c["message"]))
            yield c["type"], c["status"], c["reason"], c["message"]


def advised(reason: str, message: str, obj: Object) -> str:
    """`message` and, where there is one, the next step."""
    step = ADVICE.get(reason)
    return f"{message}; {step.format(**named(obj))}" if step else message


def sync_advice(obj: Object) -> str:
    """The next step after a sync that failed, with a semicolon before it; empty where none is known."""
    reason = next((c["reason"] for c in conditions(obj) if c["type"] == words.SYNCED), "")
    return advised(reason, "", obj) if reason in ADVICE else ""


def blocked(obj: Object) -> str:
    """Why no sync can start; empty where one can."""
    return "; ".join(advised(reason, said, obj) for _, _, reason, said in causes(obj) if reason in BLOCKING)


def conditions(obj: Object) -> Sequence[Mapping[str, Any]]:
    return (obj.get("status") or {}).get("conditions") or ()


def named(obj: Object) -> Mapping[str, str]:
    """What a next step may name."""
    spec = obj.get("spec") or {}
    sources: Sequence[Mapping[str, Any]] = spec.get("sources") or ()
    secrets = [s["credentials"]["secretRef"]["name"] for s in sources if s.get("credentials")]
    return {
        "name": str(obj["metadata"]["name"]),
        "cluster": str((spec.get("clusterRef") or {}).get("name", "")),
        "secrets": f"Secret {' and '.join(dict.fromkeys(secrets))}" if secrets else "the members' own identity",
        "origins": ", ".join(map(origin, sources)),
    }


def origin(source: Mapping[str, Any]) -> str:
    """Where a source's bytes live, as a person writes it."""
    if source.get("directory"):
        return str(source["directory"]["path"])
    s3 = source.get("s3") or {}
    at = f" at {s3['endpoint']}" if s3.get("endpoint") else f" in {s3.get('region', 'us-east-1')}"
    return f"s3://{s3.get('bucket', '')}/{s3.get('prefix', '')}{at}"
