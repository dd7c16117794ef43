"""When a Dataset is synced, and what becomes of what a sync found. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from forebay_cache.contract.admin import CommitReport, SyncReport
from forebay_operator.api import v1alpha1 as api
from forebay_operator.api.fields import seconds

POLL_S = 1.0
RETRY_FIRST_S = 10.0
RETRY_MOST_S = 300.0
LISTED_STEP = 4
"""A running sync's count is written anew when it grew by one part in this many: some fifty writes for a billion."""


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
    """What the operator remembers between two looks and may forget: failures in a row, the request last acted on, the
    report last counted, and when a member that refused may be asked again."""

    failures: int = 0
    requested: str = ""
    seen: str = ""
    not_before_s: float = 0.0


def next_step(
    dataset: api.Dataset, report: SyncReport | None, asked: str, now_s: float, attempts: Attempts
) -> Instruction:
    """`asked`: the value of the sync annotation; `report`: the newest sync a member knows. Times are wall time."""
    head = head_of(dataset)
    if report and report.state == "Running":
        return Wait(POLL_S)
    if report and report.commit and report.parent == head and report.commit.id != head:
        return Adopt(report)
    if dataset.spec.suspend:
        return Wait(None)
    wait = due_in(dataset, report, now_s, attempts)
    if asked and asked not in (attempts.requested, _answered(dataset)):
        wait = 0.0
    if wait is not None:
        wait = max(wait, attempts.not_before_s - now_s)
    return Start(head) if wait is not None and wait <= 0 else Wait(wait)


def due_in(dataset: api.Dataset, report: SyncReport | None, now_s: float, attempts: Attempts) -> float | None:
    """Seconds until the next sync is due; None: never by itself."""
    if report is None or report.finished_ms is None:
        never = dataset.spec.sync.mode == "Never" and dataset.status.head is not None
        return None if never else 0.0
    since = now_s - report.finished_ms / 1000
    if report.state == "Failed":
        return backoff(attempts.failures) - since
    if dataset.spec.sync.mode == "Never":
        return None
    return seconds(dataset.spec.sync.interval) - since


def backoff(failures: int) -> float:
    """Seconds to wait after so many failures in a row."""
    return min(RETRY_MOST_S, RETRY_FIRST_S * 2.0 ** max(0, min(failures, 32) - 1))


def counted(before: Attempts, report: SyncReport | None) -> Attempts:
    """Failures in a row, counted once for each report."""
    if report is None or report.state == "Running" or report.id == before.seen:
        return before
    return replace(before, failures=before.failures + 1 if report.state == "Failed" else 0, seen=report.id)


def refused(before: Attempts, now_s: float) -> Attempts:
    """A member would not start a sync: not every look asks it again."""
    failures = before.failures + 1
    return replace(before, failures=failures, not_before_s=now_s + backoff(failures))


def sync_status(
    dataset: api.Dataset, report: SyncReport | None, asked: str, times: Mapping[int, str]
) -> api.SyncStatus | None:
    """What a status says of the newest sync; what it said before, where there is no news.

    `dataset`: as it was before the report's commit became its head. `asked`: the request that this sync answers.
    `times`: milliseconds of the report as RFC 3339.
    """
    before = dataset.status.sync
    started = times.get(report.started_ms) if report else None
    if report is None or (before and not _is_news(before, report, started, head_of(dataset), asked)):
        return before
    ended = report.state != "Running"
    return api.SyncStatus(
        state=report.state,
        start_time=started,
        finish_time=times.get(report.finished_ms or 0),
        listed=report.listed,
        message=report.message,
        requested=asked if asked and ended else _answered(dataset),
    )


def _is_news(before: api.SyncStatus, report: SyncReport, started: str | None, head: str | None, asked: str) -> bool:
    """Syncs that find nothing new, and retries that fail alike, are no news, unless somebody asked for them."""
    wanted = asked not in ("", before.requested)
    if report.state == "Running" and before.state == "Running":
        grown = report.listed * LISTED_STEP > before.listed * (LISTED_STEP + 1)
        return grown or before.start_time != started
    if report.state == "Running":
        return wanted
    if wanted or report.state != before.state:
        return True
    if report.state == "Failed":
        return report.message != before.message
    return report.commit is not None and report.commit.id != head


def adopted(dataset: api.Dataset, commit: CommitReport, time: Callable[[int], str]) -> api.DatasetStatus:
    """The status with the commit as head; of the older ones as many as are kept, and the pinned one. `time`:
    milliseconds as RFC 3339."""
    status, made = dataset.status, time(commit.created_ms)
    head = api.Head(commit=commit.id, files=commit.files, bytes=commit.bytes, time=made)
    row = api.CommitStatus(id=commit.id, time=made, files=commit.files, bytes=commit.bytes, parent=commit.parent)
    older = [one for one in status.commits if one.id != commit.id]
    keep = dataset.spec.commits.keep - 1
    pinned = [one for one in older[keep:] if one.id == dataset.spec.version.commit]
    return status.model_copy(update={"head": head, "commits": (row, *older[:keep], *pinned)})


def head_of(dataset: api.Dataset) -> str | None:
    return dataset.status.head.commit if dataset.status.head else None


def _answered(dataset: api.Dataset) -> str:
    return dataset.status.sync.requested if dataset.status.sync else ""
