"""When a Dataset is synced, and what becomes of what a sync found. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from forebay_cache.contract.admin import SyncReport
from forebay_operator.api import v1alpha1 as api
from forebay_operator.api.fields import seconds

POLL_S = 1.0
RETRY_FIRST_S = 10.0
RETRY_MOST_S = 300.0


@dataclass(frozen=True, slots=True)
class Start:
    """Start a sync on a member, on this parent."""

    parent: str | None


@dataclass(frozen=True, slots=True)
class Adopt:
    """Make the report's commit the head, by compare-and-swap."""

    report: SyncReport


@dataclass(frozen=True, slots=True)
class Wait:
    """Look again in so many seconds; None: when something happens."""

    seconds: float | None


Instruction = Start | Adopt | Wait


@dataclass(frozen=True, slots=True)
class Attempts:
    """What the operator remembers between two looks and may forget: failures in a row, the request last acted on, and the
    report last counted."""

    failures: int = 0
    requested: str = ""
    seen: str = ""


def next_step(
    dataset: api.Dataset, report: SyncReport | None, asked: str, now_s: float, attempts: Attempts
) -> Instruction:
    """`asked`: the value of the sync annotation; `report`: the newest sync a member knows. Times are wall time."""
    head = dataset.status.head.commit if dataset.status.head else None
    if report and report.state == "Running":
        return Wait(POLL_S)
    if report and report.commit and report.parent == head and report.commit.id != head:
        return Adopt(report)
    if dataset.spec.suspend:
        return Wait(None)
    wait = due_in(dataset, report, now_s, attempts)
    if asked and asked not in (attempts.requested, _answered(dataset)):
        wait = 0.0
    return Start(head) if wait is not None and wait <= 0 else Wait(wait)


def due_in(dataset: api.Dataset, report: SyncReport | None, now_s: float, attempts: Attempts) -> float | None:
    """Seconds until the next sync is due; None: never by itself."""
    if report is None or report.finished_ms is None:
        never = dataset.spec.sync.mode == "Never" and dataset.status.head is not None
        return None if never else 0.0
    since = now_s - report.finished_ms / 1000
    if report.state == "Failed":
        return min(RETRY_MOST_S, RETRY_FIRST_S * 2.0 ** max(0, attempts.failures - 1)) - since
    if dataset.spec.sync.mode == "Never":
        return None
    return seconds(dataset.spec.sync.interval) - since


def sync_status(
    dataset: api.Dataset, report: SyncReport | None, asked: str, times: Mapping[int, str]
) -> api.SyncStatus | None:
    """What a status says of the newest sync. One that found nothing new changes nothing, unless somebody asked for it.

    `times`: milliseconds of the report as RFC 3339.
    """
    before = dataset.status.sync
    if report is None or (report.state == "Running" and before and before.state == "Succeeded" and not asked):
        return before
    quiet = before is not None and before.state == report.state == "Succeeded" and asked in ("", before.requested)
    if quiet and report.commit and dataset.status.head and report.commit.id == dataset.status.head.commit:
        return before
    return api.SyncStatus(
        state=report.state,
        start_time=times.get(report.started_ms),
        finish_time=times.get(report.finished_ms or 0),
        listed=report.listed,
        message=report.message,
        requested=asked if report.state != "Running" else (before.requested if before else ""),
    )


def _answered(dataset: api.Dataset) -> str:
    return dataset.status.sync.requested if dataset.status.sync else ""
