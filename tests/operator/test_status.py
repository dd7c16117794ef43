from dataclasses import replace
from typing import Any

import pytest
from tests.rigs import objects

from forebay_cache.contract.admin import CatalogProblem, CommitReport, DatasetReport, MemberReport, SyncReport
from forebay_operator.api import v1alpha1 as api
from forebay_operator.facts import DatasetFacts, Facts, MemberFacts
from forebay_operator.model import CACHE_CLUSTER, Key, Outcome
from forebay_operator.status import Moment, calm, cluster_status, dataset_status, last_outcome

NOW, LATER = Moment("2026-01-01T00:00:00Z"), Moment("2026-01-02T00:00:00Z")
HEAD, GONE = "a" * 64, "b" * 64
TIME = "2026-01-01T00:00:00Z"


def report(*, head: str | None = HEAD, used: int = 500, cached: int = 50) -> MemberReport:
    return MemberReport(
        member="m-1", cluster_uid="c-1", boot_id="b", state_version=1, ready=True, capacity_bytes=1000, used_bytes=used,
        chunks=0, hits=0, misses=0, hit_bytes=0, miss_bytes=0,
        datasets=(DatasetReport(uid="d-1", head=head, cached_bytes=cached, cached_chunks=0),),
    )  # fmt: skip


def member(*, ready: bool = True, answer: MemberReport | None = None, message: str = "") -> MemberFacts:
    return MemberFacts("main-0", "127.64.0.1", ready, 2, answer, message)


def facts(*members: MemberFacts, status: Any = None, **spec: Any) -> Facts:
    body = {**objects.cluster("ns", **spec), "status": status or {}}
    body["metadata"] |= {"uid": "c-1", "generation": 4}
    return Facts(Key(CACHE_CLUSTER, "ns", "main"), body, api.CacheCluster.model_validate(body), members=members)


def dataset(sync: SyncReport | None = None, *, head: str | None = HEAD, said: Any = (), **spec: Any) -> DatasetFacts:
    made = {"commit": head, "files": 1, "bytes": 100, "time": TIME}
    rows = [{"id": head, "time": TIME, "files": 1, "bytes": 100}]
    status = {"head": made, "commits": rows} if head else {}
    body = {**objects.dataset("ns", **spec), "status": {**status, "conditions": list(said)}}
    body["metadata"] |= {"uid": "d-1", "generation": 2}
    return DatasetFacts(body, api.Dataset.model_validate(body), {}, False, {}, None, sync)


def sync(state: str, reason: str = "", unmountable: int = 0) -> SyncReport:
    made = CommitReport(
        id=HEAD, created_ms=1, files=1, bytes=1, segments=1, chunks=1, image_bytes=1,
        unmountable=unmountable, unmountable_first=("a//b",) if unmountable else (),
    )  # fmt: skip
    commit = made if state == "Succeeded" else None
    return SyncReport(id="s", state=state, started_ms=1, commit=commit, reason=reason, message=f"why {reason}")  # type: ignore[arg-type]


def reasons(status: api.CacheClusterStatus | api.DatasetStatus) -> dict[str, str]:
    return {one.type: one.reason for one in status.conditions}


def test_what_a_member_found_damaged_is_shown_until_it_is_healed() -> None:
    problems = tuple(CatalogProblem(name=f"leaves/{n}", message="set aside; `forebay sync` heals it") for n in range(3))
    broken = report().model_copy(update={"catalog": problems})
    status = cluster_status(facts(member(answer=broken)), Outcome(), NOW)
    assert status.members[0].message == "leaves/0: set aside; `forebay sync` heals it (and 2 more)"
    assert cluster_status(facts(member(answer=report())), Outcome(), NOW).members[0].message == ""


@pytest.mark.parametrize(
    ("given", "outcome", "ready"),
    [
        (facts(member(answer=report())), Outcome(), "AllMembersReady"),
        (facts(member(ready=False)), Outcome(), "MembersUnready"),
        (facts(), Outcome(), "MembersUnready"),
        (facts(replicas=0), Outcome(), "NoMembers"),
        (facts(member()), Outcome("Forbidden", "no"), "NotApplied"),
    ],
)
def test_a_cluster_is_ready_when_all_its_members_are(given: Facts, outcome: Outcome, ready: str) -> None:
    found = reasons(cluster_status(given, outcome, NOW))
    assert (found["Ready"], found["Applied"]) == (ready, outcome.reason)


@pytest.mark.parametrize(
    ("storage", "kept", "privileges"),
    [
        ({"emptyDir": {}}, "EmptyDir", "Restricted"),
        ({"claim": {}}, "Claim", "Restricted"),
        ({"hostPath": {"path": "/d"}}, "HostPath", "HostPath"),
    ],
)
def test_what_becomes_of_chunks_is_said(storage: Any, kept: str, privileges: str) -> None:
    found = reasons(cluster_status(facts(storage={"capacity": "1Gi", **storage}), Outcome(), NOW))
    assert (found["CachePersistent"], found["PrivilegesSuffice"]) == (kept, privileges)


def test_why_a_member_does_not_serve_is_said_twice() -> None:
    status = cluster_status(facts(member(ready=False, message="CrashLoopBackOff: exit 3")), Outcome(), NOW)
    assert status.members[0].message == "CrashLoopBackOff: exit 3"
    (ready,) = [one for one in status.conditions if one.type == "Ready"]
    assert "main-0: CrashLoopBackOff" in ready.message


def test_a_member_that_is_silent_keeps_what_was_known_of_it() -> None:
    first = cluster_status(facts(member(answer=report())), Outcome(), NOW)
    assert (first.members[0].member_id, first.capacity) == ("m-1", api.Capacity(total=1000, used=500))
    again = cluster_status(facts(member(ready=False), status=first.model_dump(by_alias=True)), Outcome(), LATER)
    assert (again.members[0].member_id, again.members[0].used_bytes) == ("m-1", 500)
    assert again.capacity == first.capacity


def test_the_same_facts_later_are_the_same_status() -> None:
    first = cluster_status(facts(member(answer=report())), Outcome(), NOW)
    assert first.observed_generation == 4
    again = facts(member(answer=report()), status=first.model_dump(by_alias=True))
    assert cluster_status(again, Outcome(), LATER) == first


def test_a_look_that_applies_nothing_says_of_it_what_was_said() -> None:
    assert last_outcome(facts()) == Outcome()
    refused = cluster_status(facts(), Outcome("Forbidden", "no right"), NOW)
    assert last_outcome(facts(status=refused.model_dump(by_alias=True))) == Outcome("Forbidden", "no right")


@pytest.mark.parametrize(
    ("value", "before", "whole", "written"),
    [
        (5, None, 1000, 5),
        (509, 500, 1000, 500),
        (510, 500, 1000, 510),
        (490, 500, 1000, 490),
        (0, 5, 1000, 0),
        (1000, 999, 1000, 1000),
        (3, 2, 0, 3),
    ],
)
def test_a_counter_moves_by_a_hundredth_or_to_an_end(value: int, before: int | None, whole: int, written: int) -> None:
    assert calm(value, before, whole) == written


SERVING = facts(member(answer=report()))


@pytest.mark.parametrize(
    ("given", "around", "taken", "ready"),
    [
        (dataset(), SERVING, False, "Readable"),
        (dataset(), facts(member(answer=report(head=None))), False, "NeverSynced"),
        (dataset(), facts(member(ready=False)), False, "MembersUnready"),
        (dataset(), SERVING, True, "BucketTaken"),
        (dataset(version={"mode": "Pinned", "commit": GONE}), SERVING, False, "PinMissing"),
        (dataset(version={"mode": "Pinned", "commit": HEAD}), SERVING, False, "Readable"),
        (replace(dataset(), secret_taken=True), SERVING, False, "SecretTaken"),
        (replace(dataset(s3={"access": "Anonymous"}), secret_taken=True), SERVING, False, "Readable"),
        (dataset(), Facts(Key(CACHE_CLUSTER, "ns", "main"), None, None), False, "ClusterMissing"),
    ],
)
def test_a_dataset_is_ready_when_a_member_serves_a_commit(
    given: DatasetFacts, around: Facts, *, taken: bool, ready: str
) -> None:
    assert reasons(dataset_status(around, given, None, NOW, taken=taken))["Ready"] == ready


def said(type_: str, reason: str) -> dict[str, str]:
    return {"type": type_, "status": "False", "reason": reason, "message": "m", "lastTransitionTime": TIME}


BROKEN = (
    said("Synced", "OriginDenied"),
    said("OriginReachable", "OriginDenied"),
    said("CredentialsValid", "OriginDenied"),
)


@pytest.mark.parametrize(
    ("given", "synced", "origin", "credentials"),
    [
        (dataset(head=None), "NeverSynced", "Unknown", "OwnIdentity"),
        (dataset(sync("Running"), head=None), "Running", "Unknown", "OwnIdentity"),
        (dataset(sync("Succeeded")), "Succeeded", "Reachable", "OwnIdentity"),
        (dataset(), "Succeeded", "Reachable", "OwnIdentity"),
        (dataset(sync("Failed", "OriginDenied")), "OriginDenied", "OriginDenied", "OriginDenied"),
        (dataset(sync("Failed", "OriginUnavailable")), "OriginUnavailable", "OriginUnavailable", "OwnIdentity"),
        (dataset(sync("Failed", "OriginThrottled")), "Failed", "OriginUnavailable", "OwnIdentity"),
        (dataset(sync("Failed", "CatalogFull")), "CatalogFull", "Reachable", "OwnIdentity"),
        (dataset(sync("Failed", "A word of later")), "Failed", "Reachable", "OwnIdentity"),
        (dataset(sync("Running"), said=BROKEN), "OriginDenied", "OriginDenied", "OriginDenied"),
        (dataset(None, said=BROKEN), "OriginDenied", "OriginDenied", "OriginDenied"),
        (dataset(sync("Succeeded"), said=BROKEN), "Succeeded", "Reachable", "OwnIdentity"),
        (
            dataset(sync("Running"), said=[said("Synced", "NeverSynced")], head=None),
            "Running",
            "Unknown",
            "OwnIdentity",
        ),
    ],
)
def test_the_verdict_is_that_of_the_newest_sync_that_ended(
    given: DatasetFacts, synced: str, origin: str, credentials: str
) -> None:
    found = reasons(dataset_status(SERVING, given, None, NOW, taken=False))
    assert (found["Synced"], found["OriginReachable"], found["CredentialsValid"]) == (synced, origin, credentials)


def test_a_missing_secret_is_said_before_what_the_origin_said() -> None:
    given = replace(dataset(sync("Failed", "OriginDenied")), missing=("SecretMissing", "make it"))
    assert reasons(dataset_status(SERVING, given, None, NOW, taken=False))["CredentialsValid"] == "SecretMissing"


def test_keys_that_no_mount_can_show_are_counted_and_remembered() -> None:
    status = dataset_status(SERVING, dataset(sync("Succeeded", unmountable=3)), None, NOW, taken=False)
    (found,) = [one for one in status.conditions if one.type == "KeysMountable"]
    assert found.reason == "KeysNotMountable"
    assert "3 keys" in found.message
    assert "a//b" in found.message
    later = dataset(sync("Running"), said=[found.model_dump(by_alias=True)])
    assert reasons(dataset_status(SERVING, later, None, LATER, taken=False))["KeysMountable"] == "KeysNotMountable"


def test_how_much_is_cached_is_a_share_of_the_head() -> None:
    status = dataset_status(SERVING, dataset(), None, NOW, taken=False)
    assert status.cached == api.Cached(bytes=50, percent=50)
    assert dataset_status(facts(), dataset(), None, NOW, taken=False).cached is None


def test_the_secret_is_named_only_where_there_is_one() -> None:
    assert dataset_status(SERVING, dataset(), None, NOW, taken=False).secret_name == "photos-s3"
    anonymous = dataset(s3={"access": "Anonymous"})
    assert dataset_status(SERVING, anonymous, None, NOW, taken=False).secret_name is None
