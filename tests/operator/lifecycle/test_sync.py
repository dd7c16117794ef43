from typing import Any

import pytest

from forebay_cache.contract.admin import CommitReport, SyncReport
from forebay_operator.api import v1alpha1 as api
from forebay_operator.lifecycle.sync import (
    RETRY_MOST_S,
    Adopt,
    Attempts,
    Start,
    Wait,
    adopted,
    backoff,
    counted,
    next_step,
    refused,
    sync_status,
)

HEAD, NEXT = "a" * 64, "b" * 64
NOW = 1_000_000.0


def dataset(
    head: str | None = HEAD, mode: str = "Interval", *, suspend: bool = False, requested: str = ""
) -> api.Dataset:
    made = {"commit": head, "files": 1, "bytes": 1, "time": "2026-01-01T00:00:00Z"}
    status: dict[str, Any] = {"sync": {"state": "Succeeded", "requested": requested}}
    spec = {"clusterRef": {"name": "main"}, "sources": [{"name": "s", "directory": {"path": "/d"}}]}
    return api.Dataset.model_validate(
        {
            "metadata": {"name": "photos", "namespace": "ns"},
            "spec": {**spec, "sync": {"mode": mode, "interval": "5m"}, "suspend": suspend},
            "status": {**status, **({"head": made} if head else {})},
        }
    )


def report(
    state: str = "Succeeded", *, ago_s: float = 10.0, commit: str = HEAD, parent: str | None = HEAD
) -> SyncReport:
    made = CommitReport(id=commit, created_ms=1, files=1, bytes=1, segments=1, chunks=1, image_bytes=1)
    ended = None if state == "Running" else int((NOW - ago_s) * 1000)
    return SyncReport(
        id="s1",
        state=state,
        parent=parent,
        started_ms=1,
        finished_ms=ended,
        commit=made if state == "Succeeded" else None,
    )  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "found", "asked", "attempts", "step"),
    [
        (dataset(None), None, "", Attempts(), Start(None)),
        (dataset(), None, "", Attempts(), Start(HEAD)),
        (dataset(mode="Never"), None, "", Attempts(), Wait(None)),
        (dataset(None, mode="Never"), None, "", Attempts(), Start(None)),
        (dataset(), report("Running"), "now", Attempts(), Wait(1.0)),
        (dataset(), report(ago_s=10), "", Attempts(), Wait(290.0)),
        (dataset(), report(ago_s=300), "", Attempts(), Start(HEAD)),
        (dataset(mode="Never"), report(ago_s=9999), "", Attempts(), Wait(None)),
        (dataset(), report(ago_s=10), "now", Attempts(), Start(HEAD)),
        (dataset(), report(ago_s=10), "now", Attempts(requested="now"), Wait(290.0)),
        (dataset(requested="now"), report(ago_s=10), "now", Attempts(), Wait(290.0)),
        (dataset(suspend=True), report(ago_s=9999), "now", Attempts(), Wait(None)),
        (dataset(), report("Failed", ago_s=4), "", Attempts(failures=1), Wait(6.0)),
        (dataset(), report("Failed", ago_s=4), "", Attempts(failures=3), Wait(36.0)),
        (dataset(), report("Failed", ago_s=RETRY_MOST_S), "", Attempts(failures=30), Start(HEAD)),
        (dataset(None), None, "", Attempts(not_before_s=NOW + 7), Wait(7.0)),
        (dataset(mode="Never"), None, "", Attempts(not_before_s=NOW + 7), Wait(None)),
        (dataset(), report(ago_s=10), "now", Attempts(not_before_s=NOW + 7), Wait(7.0)),
        (dataset(), report(ago_s=300), "", Attempts(not_before_s=NOW), Start(HEAD)),
    ],
)
def test_the_next_step(
    given: api.Dataset, found: SyncReport | None, asked: str, attempts: Attempts, step: object
) -> None:
    assert next_step(given, found, asked, NOW, attempts) == step


def test_a_commit_on_the_head_is_adopted_and_one_on_another_parent_is_not() -> None:
    proposal = report(commit=NEXT)
    assert next_step(dataset(), proposal, "", NOW, Attempts()) == Adopt(proposal)
    assert not isinstance(next_step(dataset(), report(commit=NEXT, parent="c" * 64), "", NOW, Attempts()), Adopt)


def test_waits_grow_to_a_limit() -> None:
    waits = [backoff(failures) for failures in (0, 1, 2, 3, 6, 2000)]
    assert waits == [10, 10, 20, 40, RETRY_MOST_S, RETRY_MOST_S]


def test_a_failure_is_counted_once_and_a_success_forgets_all() -> None:
    failed = report("Failed")
    once = counted(Attempts(), failed)
    assert once.failures == 1
    assert counted(once, failed) == once
    assert counted(once, report("Running")) == once
    assert counted(once, None) == once
    assert counted(once, report().model_copy(update={"id": "s2"})).failures == 0


def test_a_refusal_is_a_failure_that_has_no_report() -> None:
    once = refused(Attempts(requested="r"), NOW)
    assert (once.failures, once.not_before_s, once.requested) == (1, NOW + 10, "r")
    assert refused(once, NOW).not_before_s == NOW + 20


TIMES = {1: "t-start", 2: "t-other"}


def told(before: dict[str, Any] | None, now: SyncReport | None, asked: str = "", head: str | None = HEAD) -> Any:
    """What a status says after `now`; the same object as before, where there is no news."""
    given = dataset(head)
    sync = api.SyncStatus.model_validate({"startTime": "t-start", **before}) if before else None
    given = given.model_copy(update={"status": given.status.model_copy(update={"sync": sync})})
    said = sync_status(given, now, asked, TIMES)
    return "as before" if said is sync else (said.state, said.requested) if said else None


FAILED = report("Failed").model_copy(update={"message": "no"})
DONE, RUNS = {"state": "Succeeded", "requested": "r1"}, {"state": "Running", "requested": "r1", "listed": 1000}
BROKE = {"state": "Failed", "requested": "r1", "message": "no"}


def runs(listed: int, started: int = 1) -> SyncReport:
    return report("Running").model_copy(update={"listed": listed, "started_ms": started})


@pytest.mark.parametrize(
    ("before", "now", "asked", "said"),
    [
        (None, None, "", "as before"),
        (None, runs(0), "", ("Running", "")),
        (None, report(), "", ("Succeeded", "")),
        (DONE, None, "", "as before"),
        (DONE, runs(10), "", "as before"),
        (DONE, runs(10), "r1", "as before"),
        (DONE, runs(10), "r2", ("Running", "r1")),
        (DONE, report(), "", "as before"),
        (DONE, report(), "r1", "as before"),
        (DONE, report(), "r2", ("Succeeded", "r2")),
        (DONE, report(commit=NEXT), "", ("Succeeded", "r1")),
        (DONE, FAILED, "", ("Failed", "r1")),
        (DONE, FAILED, "r2", ("Failed", "r2")),
        (BROKE, runs(10), "", "as before"),
        (BROKE, FAILED, "", "as before"),
        (BROKE, FAILED.model_copy(update={"message": "other"}), "", ("Failed", "r1")),
        (BROKE, FAILED, "r2", ("Failed", "r2")),
        (BROKE, report(), "", ("Succeeded", "r1")),
        (RUNS, runs(1000), "", "as before"),
        (RUNS, runs(1250), "", "as before"),
        (RUNS, runs(1251), "", ("Running", "r1")),
        (RUNS, runs(1000), "r2", "as before"),
        (RUNS, runs(5, started=2), "", ("Running", "r1")),
        (RUNS, report(), "r2", ("Succeeded", "r2")),
    ],
)
def test_a_status_tells_news_only(before: Any, now: SyncReport | None, asked: str, said: object) -> None:
    assert told(before, now, asked) == said


def commit(letter: str) -> CommitReport:
    return CommitReport(id=letter * 64, created_ms=5, files=2, bytes=9, segments=1, chunks=1, image_bytes=1)


def test_the_newest_commits_are_kept_and_the_pinned_one() -> None:
    spec = {"commits": {"keep": 2}, "version": {"mode": "Pinned", "commit": "a" * 64}}
    given = dataset(None)
    given = given.model_copy(
        update={"spec": api.DatasetSpec.model_validate({**given.spec.model_dump(by_alias=True), **spec})}
    )
    for letter in "abcdd":
        given = given.model_copy(update={"status": adopted(given, commit(letter), lambda ms: f"t{ms}")})
    assert [one.id[0] for one in given.status.commits] == ["d", "c", "a"]
    assert given.status.head == api.Head(commit="d" * 64, files=2, bytes=9, time="t5")
