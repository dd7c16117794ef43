from typing import Any

import pytest

from forebay_cache.contract.admin import CommitReport, SyncReport
from forebay_operator.api import v1alpha1 as api
from forebay_operator.lifecycle.sync import RETRY_MOST_S, Adopt, Attempts, Start, Wait, next_step

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
