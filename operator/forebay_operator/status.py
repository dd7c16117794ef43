"""What a reconcile saw, as status documents. Pure; times are RFC 3339 text.

Conditions at once; counters only when they moved by a hundredth, so that with no traffic nothing is written.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from forebay_cache.contract.admin import DatasetReport, SyncReport
from forebay_operator import names
from forebay_operator.api import conditions as words
from forebay_operator.api import v1alpha1 as api
from forebay_operator.api.fields import Condition
from forebay_operator.facts import DatasetFacts, Facts, MemberFacts, bucket, endpoint, served_head
from forebay_operator.model import Outcome

NO_VERDICT = ("NeverSynced", "Running", "MembersUnready")
STEP = 100
"""A counter is written anew when it moved by one part in this many of its whole."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Now, as status documents write it."""

    text: str


def cluster_status(facts: Facts, outcome: Outcome, moment: Moment) -> api.CacheClusterStatus:
    assert facts.model is not None
    before = facts.model.status
    members = tuple(_member(one, before.members, facts.model) for one in facts.members)
    ready = sum(one.ready for one in members)
    conditions = _cluster_conditions(facts, outcome, ready)
    generation = facts.model.metadata.generation or 0
    return api.CacheClusterStatus(
        observed_generation=generation,
        replicas=len(members),
        ready_replicas=ready,
        selector=f"{names.CLUSTER_LABEL}={facts.key.name}",
        endpoint=endpoint(facts),
        capacity=_capacity(facts.members, members) or before.capacity,
        members=members,
        conditions=words.merged(before.conditions, conditions, moment.text, generation),
    )


def last_outcome(facts: Facts) -> Outcome:
    """What the Applied condition says, for a look that applies nothing."""
    assert facts.model is not None
    said = [one for one in facts.model.status.conditions if one.type == words.APPLIED]
    return Outcome(said[0].reason, said[0].message) if said else Outcome()


def dataset_status(
    facts: Facts, dataset: DatasetFacts, sync: api.SyncStatus | None, moment: Moment, *, taken: bool
) -> api.DatasetStatus:
    """`taken`: another, older Dataset of the cluster has the bucket's name."""
    model = dataset.model
    generation = model.metadata.generation or 0
    conditions = _dataset_conditions(facts, dataset, taken=taken)
    keys = model.spec.s3.access == "Keys"
    return model.status.model_copy(
        update={
            "observed_generation": generation,
            "bucket": bucket(model),
            "secret_name": names.keys(facts.key.namespace, model.metadata.name).name if keys else None,
            "sync": sync,
            "cached": _cached(facts, dataset) or model.status.cached,
            "conditions": words.merged(model.status.conditions, conditions, moment.text, generation),
        }
    )


def _cluster_conditions(facts: Facts, outcome: Outcome, ready: int) -> Sequence[Condition]:
    assert facts.model is not None
    spec, table = facts.model.spec, words.CACHE_CLUSTER
    storage = spec.storage
    kept = "Claim" if storage.claim else "HostPath" if storage.host_path else "EmptyDir"
    if outcome.reason != "UpToDate":
        readiness = words.condition(table, words.READY, "NotApplied", outcome.message)
    elif not spec.replicas:
        readiness = words.condition(table, words.READY, "NoMembers")
    elif ready < spec.replicas:
        waiting = "; ".join(f"{one.pod}: {one.message}" for one in facts.members if one.message)
        readiness = words.condition(table, words.READY, "MembersUnready", waiting)
    else:
        readiness = words.condition(table, words.READY, "AllMembersReady")
    return (
        readiness,
        words.condition(table, words.APPLIED, outcome.reason, outcome.message),
        words.condition(table, words.CACHE_PERSISTENT, kept),
        words.condition(table, words.PRIVILEGES_SUFFICE, "HostPath" if storage.host_path else "Restricted"),
        words.condition(table, words.SUSPENDED, "Asked" if spec.suspend else "Active"),
    )


def _dataset_conditions(facts: Facts, dataset: DatasetFacts, *, taken: bool) -> Sequence[Condition]:
    table, model = words.DATASET, dataset.model
    found = "Found" if facts.object else "ClusterMissing"
    pinned = model.spec.version.mode == "Pinned"
    pin = ("Kept" if served_head(model) else "PinMissing") if pinned else "NotPinned"
    origin, why = _origin(dataset)
    made = [
        _dataset_ready(facts, dataset, taken=taken),
        words.condition(table, words.CLUSTER_FOUND, found),
        _credentials(dataset),
        words.condition(table, words.ORIGIN_REACHABLE, origin, why),
        words.condition(table, words.SYNCED, *_synced(facts, dataset)),
        words.condition(table, words.BUCKET_UNIQUE, "BucketTaken" if taken else "Unique"),
        words.condition(table, words.PIN_KEPT, pin),
        words.condition(table, words.SUSPENDED, "Asked" if model.spec.suspend else "Active"),
    ]
    return [*made, *_mountable(dataset)]


def _dataset_ready(facts: Facts, dataset: DatasetFacts, *, taken: bool) -> Condition:
    table, model = words.DATASET, dataset.model
    name = model.spec.cluster_ref.name
    if facts.object is None:
        message = f"there is no CacheCluster {facts.key.namespace}/{name}: apply one"
        return words.condition(table, words.READY, "ClusterMissing", message)
    if taken:
        return words.condition(table, words.READY, "BucketTaken")
    if dataset.secret_taken and model.spec.s3.access == "Keys":
        key = names.keys(facts.key.namespace, model.metadata.name)
        message = f"{key} is not this Dataset's: delete it or rename it, and one with keys is made"
        return words.condition(table, words.READY, "SecretTaken", message)
    if model.spec.version.mode == "Pinned" and served_head(model) is None:
        return words.condition(table, words.READY, "PinMissing")
    if not any(member.ready for member in facts.members):
        return words.condition(table, words.READY, "MembersUnready")
    served = any(one.head for member in facts.members if member.report for one in _of(member, dataset.uid))
    return words.condition(table, words.READY, "Readable" if served else "NeverSynced")


def _credentials(dataset: DatasetFacts) -> Condition:
    table, report = words.DATASET, dataset.sync
    if dataset.missing:
        return words.condition(table, words.CREDENTIALS_VALID, *dataset.missing)
    if report and report.state == "Failed" and report.reason == "OriginDenied":
        return words.condition(table, words.CREDENTIALS_VALID, "OriginDenied", report.message)
    before = _said(dataset, words.CREDENTIALS_VALID)
    if before and before.reason == "OriginDenied" and not _has_ended(report):
        return before
    return words.condition(table, words.CREDENTIALS_VALID, "Given" if dataset.credentials else "OwnIdentity")


def _origin(dataset: DatasetFacts) -> tuple[str, str]:
    report, before = dataset.sync, _said(dataset, words.ORIGIN_REACHABLE)
    if report and report.state == "Failed":
        known = report.reason in words.DATASET[words.ORIGIN_REACHABLE]
        unavailable = report.reason in ("OriginThrottled", "OriginBadAnswer")
        if known or unavailable:
            return report.reason if known else "OriginUnavailable", report.message
    if before and not _has_ended(report):
        return before.reason, before.message
    asked = report is not None and report.state == "Succeeded"
    return ("Reachable", "") if asked or dataset.model.status.head else ("Unknown", "")


def _synced(facts: Facts, dataset: DatasetFacts) -> tuple[str, str]:
    """The verdict of the newest sync that ended: a retry that runs is no better news yet."""
    report, table, before = dataset.sync, words.DATASET[words.SYNCED], _said(dataset, words.SYNCED)
    if report and report.state == "Failed":
        return report.reason if report.reason in table else "Failed", report.message
    if before and before.reason not in NO_VERDICT and not _has_ended(report):
        return before.reason, before.message
    if dataset.model.status.head:
        return "Succeeded", ""
    if report and report.state == "Running":
        return "Running", ""
    if not any(member.ready for member in facts.members):
        return "MembersUnready", ""
    return "NeverSynced", ""


def _has_ended(report: SyncReport | None) -> bool:
    return report is not None and report.state != "Running"


def _said(dataset: DatasetFacts, type_: str) -> Condition | None:
    return next((one for one in dataset.model.status.conditions if one.type == type_), None)


def _mountable(dataset: DatasetFacts) -> Sequence[Condition]:
    commit = dataset.sync.commit if dataset.sync else None
    if commit is None:
        before = _said(dataset, words.KEYS_MOUNTABLE)
        return [before] if before else []
    if not commit.unmountable:
        return [words.condition(words.DATASET, words.KEYS_MOUNTABLE, "AllMountable")]
    message = f"{commit.unmountable} keys cannot be file names, among them {', '.join(commit.unmountable_first)}"
    return [words.condition(words.DATASET, words.KEYS_MOUNTABLE, "KeysNotMountable", message[:1000])]


def _member(one: MemberFacts, before: Sequence[api.MemberStatus], model: api.CacheCluster) -> api.MemberStatus:
    old = next((status for status in before if status.name == one.pod), None)
    used = one.report.used_bytes if one.report else (old.used_bytes if old else 0)
    whole = one.report.capacity_bytes if one.report else 0
    return api.MemberStatus(
        name=one.pod,
        member_id=one.report.member if one.report else (old.member_id if old else ""),
        ready=one.ready,
        restarts=one.restarts,
        used_bytes=calm(used, old.used_bytes if old else None, whole),
        message=_damage(one) if one.ready else one.message,
    )


def _damage(one: MemberFacts) -> str:
    """What a member that is ready has lost, and what to do."""
    problems = one.report.catalog if one.report else ()
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{problems[0].name}: {problems[0].message}{more}" if problems else ""


def _capacity(seen: Sequence[MemberFacts], members: Sequence[api.MemberStatus]) -> api.Capacity | None:
    reports = [one.report for one in seen if one.report]
    if not reports:
        return None
    return api.Capacity(total=sum(one.capacity_bytes for one in reports), used=sum(one.used_bytes for one in members))


def _cached(facts: Facts, dataset: DatasetFacts) -> api.Cached | None:
    rows = [row for member in facts.members if member.report for row in _of(member, dataset.uid)]
    head = dataset.model.status.head
    if not rows or head is None:
        return None
    before = dataset.model.status.cached
    size = calm(sum(row.cached_bytes for row in rows), before.bytes if before else None, head.bytes)
    return api.Cached(bytes=size, percent=min(100, size * 100 // head.bytes) if head.bytes else 100)


def _of(member: MemberFacts, uid: str) -> Sequence[DatasetReport]:
    return [row for row in member.report.datasets if row.uid == uid] if member.report else ()


def calm(value: int, before: int | None, whole: int) -> int:
    """`before`, unless `value` is a STEP of the whole away from it, or at an end."""
    if before is None or value in (0, whole) or abs(value - before) * STEP >= max(whole, 1):
        return value
    return before
