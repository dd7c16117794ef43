"""Condition types and their reasons: stable words that programs may rely on. Pure.

A condition says what is the case now and nothing of how it came about. Each reconcile says all of ours again; `merged`
keeps the time of those whose status stayed.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from forebay_operator.api.fields import Condition

READY = "Ready"
APPLIED = "Applied"
SUSPENDED = "Suspended"
CACHE_PERSISTENT = "CachePersistent"
PRIVILEGES_SUFFICE = "PrivilegesSuffice"
CLUSTER_FOUND = "ClusterFound"
CREDENTIALS_VALID = "CredentialsValid"
ORIGIN_REACHABLE = "OriginReachable"
SYNCED = "Synced"
BUCKET_UNIQUE = "BucketUnique"
PIN_KEPT = "PinKept"
KEYS_MOUNTABLE = "KeysMountable"

Status = Literal["True", "False", "Unknown"]
TRUE: Status = "True"
FALSE: Status = "False"
UNKNOWN: Status = "Unknown"
Reasons = Mapping[str, tuple[Status, str]]
"""Reason -> the status it goes with, and what it means."""

CACHE_CLUSTER: Mapping[str, Reasons] = {
    READY: {
        "AllMembersReady": (TRUE, "every member serves"),
        "MembersUnready": (FALSE, "a member does not serve; status.members says why"),
        "NoMembers": (FALSE, "spec.replicas is 0"),
        "NotApplied": (FALSE, "what the members need could not be written; see Applied"),
    },
    APPLIED: {
        "UpToDate": (TRUE, "every object of the cluster is as wanted"),
        "Conflict": (FALSE, "another manager owns a field of one of our objects"),
        "Invalid": (FALSE, "the API server refused an object"),
        "Forbidden": (FALSE, "the operator may not write an object"),
        "Unavailable": (FALSE, "the API server did not answer; tried again"),
    },
    CACHE_PERSISTENT: {
        "Claim": (TRUE, "chunks are on persistent volume claims"),
        "HostPath": (TRUE, "chunks are in a directory of the node"),
        "EmptyDir": (FALSE, "chunks go with their pod"),
    },
    PRIVILEGES_SUFFICE: {
        "Restricted": (TRUE, "members need no privilege"),
        "HostPath": (UNKNOWN, "hostPath needs a namespace that allows privileged pods"),
    },
    SUSPENDED: {
        "Asked": (TRUE, "spec.suspend is true"),
        "Active": (FALSE, "spec.suspend is false"),
    },
}

DATASET: Mapping[str, Reasons] = {
    READY: {
        "Readable": (TRUE, "a commit is served"),
        "NeverSynced": (FALSE, "no sync has succeeded yet"),
        "ClusterMissing": (FALSE, "spec.clusterRef names no CacheCluster"),
        "MembersUnready": (FALSE, "the cluster's members do not serve"),
        "BucketTaken": (FALSE, "another Dataset has the bucket's name"),
        "PinMissing": (FALSE, "the pinned commit is not there"),
        "SecretTaken": (FALSE, "a Secret of somebody else has the name of the one for the S3 keys"),
    },
    CLUSTER_FOUND: {
        "Found": (TRUE, "spec.clusterRef names a CacheCluster"),
        "ClusterMissing": (FALSE, "spec.clusterRef names no CacheCluster"),
    },
    CREDENTIALS_VALID: {
        "Given": (TRUE, "every Secret that is named is there and whole"),
        "OwnIdentity": (TRUE, "no source names a Secret: members use their own identity"),
        "SecretMissing": (FALSE, "a Secret that is named is not there"),
        "SecretIncomplete": (FALSE, "a Secret lacks a key"),
        "OriginDenied": (FALSE, "the origin refused the credentials"),
    },
    ORIGIN_REACHABLE: {
        "Reachable": (TRUE, "the newest request to every origin was answered"),
        "OriginUnavailable": (FALSE, "an origin does not answer"),
        "OriginMissing": (FALSE, "a bucket or directory is not there"),
        "OriginDenied": (FALSE, "an origin refused the credentials"),
        "Unknown": (UNKNOWN, "no member has asked yet"),
    },
    SYNCED: {
        "Succeeded": (TRUE, "the newest sync ended well"),
        "Running": (FALSE, "the first sync is running"),
        "NeverSynced": (FALSE, "no sync has started yet"),
        "OriginDenied": (FALSE, "the origin refused the credentials"),
        "OriginMissing": (FALSE, "the bucket or directory is not there"),
        "OriginUnavailable": (FALSE, "the origin does not answer"),
        "CatalogFull": (FALSE, "the members' disks have no room for the catalog"),
        "Killed": (FALSE, "the sync's process was killed; it goes on where it was"),
        "Failed": (FALSE, "the sync failed; status.sync.message says why"),
        "MembersUnready": (FALSE, "no member can run a sync"),
    },
    BUCKET_UNIQUE: {
        "Unique": (TRUE, "no other Dataset of the cluster has the bucket's name"),
        "BucketTaken": (FALSE, "an older Dataset of the cluster has it"),
    },
    PIN_KEPT: {
        "NotPinned": (TRUE, "spec.version.mode is Latest"),
        "Kept": (TRUE, "the pinned commit is served"),
        "PinMissing": (FALSE, "the pinned commit is not there"),
    },
    KEYS_MOUNTABLE: {
        "AllMountable": (TRUE, "every key has a place in the mount"),
        "KeysNotMountable": (FALSE, "some keys cannot be file names; they are readable over S3"),
    },
    SUSPENDED: {
        "Asked": (TRUE, "spec.suspend is true"),
        "Active": (FALSE, "spec.suspend is false"),
    },
}


def condition(table: Mapping[str, Reasons], type_: str, reason: str, message: str = "") -> Condition:
    """A condition of a CacheCluster (`CACHE_CLUSTER`) or Dataset, as yet without time and generation.

    Without `message` it says what the reason means. Raises KeyError for what the table does not have.
    """
    status, meaning = table[type_][reason]
    return Condition(type=type_, status=status, reason=reason, message=message or meaning, last_transition_time="")


def merged(old: Sequence[Condition], new: Iterable[Condition], now: str, generation: int) -> tuple[Condition, ...]:
    """`new` as it goes into a status, by type; the time is `old`'s where the status is the same, else `now` (RFC 3339)."""
    before = {one.type: one for one in old}
    stamped = []
    for one in new:
        was = before.get(one.type)
        since = was.last_transition_time if was is not None and was.status == one.status else now
        stamped.append(one.model_copy(update={"last_transition_time": since, "observed_generation": generation}))
    return tuple(sorted(stamped, key=lambda one: one.type))
