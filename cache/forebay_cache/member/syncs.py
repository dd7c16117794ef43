"""Runs syncs in child processes of their own: a sync's memory and crash never touch the member.

The request goes in by standard input, because it holds credentials; progress comes out as JSON lines on standard output.
"""

import asyncio
import contextlib
import logging
import signal
import sys
import uuid
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from forebay_cache.contract.admin import SyncReport
from forebay_cache.contract.config import DatasetState, Document
from forebay_cache.model.ids import CommitId

LINE_LIMIT = 1 << 20
STOP_GRACE_S = 5.0
log = logging.getLogger("forebay.sync")


class SyncJob(Document):
    """What a sync child must know."""

    id: str
    dataset: DatasetState
    parent: str | None
    catalog_path: str
    started_ms: int


async def _nobody_cares() -> None:
    pass


@dataclass(slots=True)
class _Running:
    report: SyncReport
    task: asyncio.Task[None]


class Syncs:
    """At most one sync a Dataset; remembers the newest report of each. `now_ms` is wall time; `ended` is awaited after each:
    it may have healed what the catalog had lost."""

    def __init__(
        self, catalog_path: str, now_ms: Callable[[], int], ended: Callable[[], Awaitable[None]] = _nobody_cares
    ) -> None:
        self._catalog_path = catalog_path
        self._now_ms = now_ms
        self._ended = ended
        self._syncs: dict[str, _Running] = {}

    def newest(self, uid: str) -> SyncReport | None:
        sync = self._syncs.get(uid)
        return sync.report if sync else None

    def start(self, dataset: DatasetState, parent: str | None) -> SyncReport:
        """Starts a sync, or returns the one that runs."""
        newest = self._syncs.get(dataset.uid)
        if newest and newest.report.state == "Running":
            return newest.report
        job = SyncJob(
            id=uuid.uuid4().hex,
            dataset=dataset,
            parent=parent,
            catalog_path=self._catalog_path,
            started_ms=self._now_ms(),
        )
        report = SyncReport(id=job.id, state="Running", parent=parent, started_ms=job.started_ms, phase="Starting")
        self._syncs[dataset.uid] = _Running(report, asyncio.ensure_future(self._run(job)))
        return report

    def commits(self) -> Collection[CommitId]:
        """What the newest syncs began with or proposed: the operator may not have heard of it."""
        reports = [sync.report for sync in self._syncs.values()]
        found = (one for report in reports for one in (report.parent, report.commit and report.commit.id))
        return {CommitId(one) for one in found if one}

    async def aclose(self) -> None:
        """Stops what runs; a later sync of the same parent goes on from the checkpoint."""
        tasks = [sync.task for sync in self._syncs.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _run(self, job: SyncJob) -> None:
        why = "it was stopped"
        try:
            status = await self._child(job)
            why = f"the sync's process ended with status {status} before it was done"
        except (OSError, ValueError) as exc:
            # it could not be started, died before it was told its job, or talks nonsense
            why = f"the sync's process cannot be used: {exc}"
        finally:
            self._close(job, why)
        await self._ended()

    async def _child(self, job: SyncJob) -> int | None:
        """Runs the process to its end -> its status."""
        child = await asyncio.create_subprocess_exec(
            *command(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_LIMIT,
        )
        try:
            await self._follow(child, job)
        finally:
            await _stop(child)
        return child.returncode

    async def _follow(self, child: asyncio.subprocess.Process, job: SyncJob) -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(job.model_dump_json().encode() + b"\n")
        await child.stdin.drain()
        child.stdin.close()
        async for line in child.stdout:
            with contextlib.suppress(ValidationError):
                self._syncs[job.dataset.uid].report = SyncReport.model_validate_json(line)
        await child.wait()

    def _close(self, job: SyncJob, why: str) -> None:
        """A child that ended without a verdict was killed or crashed: say so."""
        sync = self._syncs[job.dataset.uid]
        if sync.report.state == "Running":
            sync.report = sync.report.model_copy(
                update={
                    "state": "Failed",
                    "finished_ms": self._now_ms(),
                    "reason": "Killed",
                    "message": f"{why}; it is tried again",
                }
            )
        report = sync.report
        extra = {"dataset": job.dataset.name, "state": report.state}
        if report.state == "Failed":
            extra |= {"reason": report.reason, "error": report.message}
        log.log(logging.INFO if report.state == "Succeeded" else logging.WARNING, "sync ended", extra=extra)


def command() -> Sequence[str]:
    return (sys.executable, "-m", "forebay_cache.main", "sync")


async def _stop(child: asyncio.subprocess.Process) -> None:
    if child.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        child.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_GRACE_S):
            await child.wait()
    except TimeoutError:
        child.kill()
        await child.wait()
