"""One look at one Dataset: the sync's next step, its S3 keys, its status."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from forebay_cache.contract.admin import SyncReport, SyncRequest
from forebay_operator import names
from forebay_operator.apply import apply
from forebay_operator.desired.access import keys_secret
from forebay_operator.facts import DatasetFacts, Facts
from forebay_operator.kube.base import Kube
from forebay_operator.lifecycle.sync import (
    POLL_S,
    Adopt,
    Attempts,
    Instruction,
    Start,
    adopted,
    counted,
    next_step,
    refused,
    sync_status,
)
from forebay_operator.members.base import Members
from forebay_operator.model import MemberError
from forebay_operator.plan import plan
from forebay_operator.reconcile.push import serving
from forebay_operator.reconcile.write import StatusWriter, rfc3339
from forebay_operator.status import Moment, dataset_status

MISSING_S = 5.0
"""No event tells that a Secret of somebody else came."""
log = logging.getLogger("forebay.dataset")


@dataclass(frozen=True, slots=True)
class DatasetLook:
    """`now` is wall time in seconds."""

    kube: Kube
    members: Members
    now: Callable[[], float]
    statuses: StatusWriter

    async def look(
        self, facts: Facts, dataset: DatasetFacts, attempts: Attempts, *, taken: bool
    ) -> tuple[Attempts, float | None]:
        """-> what to remember, and seconds until the next look (None: when something happens)."""
        await self._follow_keys(facts, dataset)
        asked = str(dataset.model.metadata.annotations.get(names.SYNC_REQUEST, ""))
        attempts = counted(attempts, dataset.sync)
        step = next_step(dataset.model, dataset.sync, asked, self.now(), attempts)
        blocked = taken or dataset.missing is not None
        if isinstance(step, Start) and not blocked:
            attempts, started = await self._start(facts, dataset, replace(attempts, requested=asked), step.parent)
            dataset = replace(dataset, sync=started or dataset.sync)
        answered = asked if attempts.requested == asked else ""
        wrote = await self._write(facts, dataset, step, answered, taken=taken)
        if isinstance(step, Adopt) or not wrote:
            return attempts, 0.0
        if dataset.missing is not None:
            return attempts, MISSING_S
        return attempts, _wait(step, dataset, blocked=blocked)

    async def _follow_keys(self, facts: Facts, dataset: DatasetFacts) -> None:
        """Bucket and endpoint follow the specs; the keys stay."""
        if dataset.keys is None or dataset.secret is None or facts.model is None:
            return
        wanted = keys_secret(facts, dataset, dataset.keys)
        outcome = await apply(self.kube, plan([wanted], {wanted.key: dataset.secret}, frozenset()))
        if outcome.message:
            log.warning("keys not written", extra={"secret": str(wanted.key), "reason": outcome.message})

    async def _start(
        self, facts: Facts, dataset: DatasetFacts, attempts: Attempts, parent: str | None
    ) -> tuple[Attempts, SyncReport | None]:
        """On the first member that takes it."""
        members = serving(self.members, facts, dataset.uid)
        for member in members:
            try:
                return replace(attempts, not_before_s=0.0), await member.start_sync(
                    dataset.uid, SyncRequest(parent=parent)
                )
            except MemberError as exc:
                log.warning("sync not started", extra={"dataset": dataset.model.metadata.name, "reason": str(exc)})
        return refused(attempts, self.now()) if members else attempts, None

    async def _write(
        self, facts: Facts, dataset: DatasetFacts, step: Instruction, answered: str, *, taken: bool
    ) -> bool:
        model, report = dataset.model, dataset.sync
        sync = sync_status(model, report, answered, _times(report))
        if isinstance(step, Adopt) and step.report.commit:
            status = adopted(model, step.report.commit, rfc3339)
            dataset = replace(dataset, model=model.model_copy(update={"status": status}))
        moment = Moment(rfc3339(int(self.now() * 1000)))
        status = dataset_status(facts, dataset, sync, moment, taken=taken)
        return await self.statuses.write(dataset.object, model.status, status)


def _wait(step: Instruction, dataset: DatasetFacts, *, blocked: bool) -> float | None:
    if isinstance(step, Start):
        running = dataset.sync is not None and dataset.sync.state == "Running"
        return POLL_S if running and not blocked else None
    return step.seconds if not isinstance(step, Adopt) else 0.0


def _times(report: SyncReport | None) -> Mapping[int, str]:
    moments = (report.started_ms, report.finished_ms) if report else ()
    return {moment: rfc3339(moment) for moment in moments if moment}
