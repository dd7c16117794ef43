"""What users hear of, and what is no news."""

from typing import Any

import pytest

from forebay_operator.api import conditions as words
from forebay_operator.api import v1alpha1 as api
from forebay_operator.reconcile.news import TOLD, News, news

TIME = "2026-01-01T00:00:00Z"
NOTHING = api.DatasetStatus()


def dataset(**reasons: str) -> api.DatasetStatus:
    return api.DatasetStatus(conditions=tuple(conditions(words.DATASET, reasons)))


def cluster(reason: str, **restarts: int) -> api.CacheClusterStatus:
    members = tuple(api.MemberStatus(name=name, ready=True, restarts=count) for name, count in restarts.items())
    found = conditions(words.CACHE_CLUSTER, {"Ready": reason})
    return api.CacheClusterStatus(conditions=tuple(found), members=members)


def conditions(table: Any, reasons: dict[str, str]) -> list[Any]:
    made = [words.condition(table, name, reason, f"why {reason}") for name, reason in reasons.items()]
    return [one.model_copy(update={"last_transition_time": TIME}) for one in made]


def reasons(before: Any, after: Any) -> list[str]:
    return [one.reason for one in news(before, after)]


def test_what_begins_well_says_only_that_it_is_ready() -> None:
    began = dataset(Ready="NeverSynced", Synced="NeverSynced", CredentialsValid="Given", ClusterFound="Found")
    assert news(NOTHING, began) == []
    running = dataset(Ready="NeverSynced", Synced="Running")
    assert news(began, running) == []
    (told,) = news(running, dataset(Ready="Readable", Synced="Succeeded"))
    assert told == News("Readable", "why Readable", warning=False)


@pytest.mark.parametrize("reason", ["OriginDenied", "OriginMissing", "OriginUnavailable", "CatalogFull", "Failed"])
def test_a_failed_sync_is_told_once_also_the_first(reason: str) -> None:
    failed = dataset(Ready="NeverSynced", Synced=reason)
    assert news(NOTHING, failed) == [News(reason, f"why {reason}")]
    assert news(failed, failed) == []


def test_a_cause_that_shows_in_several_conditions_is_told_once() -> None:
    assert reasons(NOTHING, dataset(Ready="BucketTaken", BucketUnique="BucketTaken")) == ["BucketTaken"]


def test_another_reason_is_news() -> None:
    before, after = (dataset(CredentialsValid=reason) for reason in ("SecretMissing", "SecretIncomplete"))
    assert reasons(before, after) == ["SecretIncomplete"]


def test_members_that_do_not_serve_are_news_where_they_did() -> None:
    assert reasons(api.CacheClusterStatus(), cluster("MembersUnready")) == []
    assert reasons(cluster("AllMembersReady"), cluster("MembersUnready")) == ["MembersUnready"]
    assert reasons(cluster("MembersUnready"), cluster("AllMembersReady")) == ["AllMembersReady"]


def test_a_member_that_was_started_again_is_named() -> None:
    before = cluster("AllMembersReady", a=0, b=2, c=5)
    after = cluster("AllMembersReady", a=1, b=3, c=0, d=4)
    told = news(before, after)
    assert [(one.reason, one.about) for one in told] == [("MemberRestarted", "a"), ("MemberRestarted", "b")]
    assert told[1].message == "b was started again, 3 times so far"


def test_what_is_asked_for_is_no_news() -> None:
    assert reasons(cluster("AllMembersReady"), cluster("NoMembers")) == []
    assert words.SUSPENDED not in TOLD
