"""One look at one cluster, on one screen: observe, desired, plan, apply, push, sync, status."""

import asyncio
import datetime as dt
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from forebay_cache.contract.admin import CommitReport, SyncReport, SyncRequest
from forebay_cache.contract.config import ClusterState
from forebay_operator import names
from forebay_operator.api import v1alpha1 as api
from forebay_operator.apply import apply
from forebay_operator.desired import desired, documents
from forebay_operator.facts import DatasetFacts, Facts, MemberFacts, bucket
from forebay_operator.kube.base import Kube
from forebay_operator.lifecycle.sync import Adopt, Attempts, Start, next_step, sync_status
from forebay_operator.members.base import Member, Members
from forebay_operator.model import FIELD_MANAGER, Key, KubeConflict, KubeNotFound, MemberError, Object
from forebay_operator.observe import observe
from forebay_operator.plan import plan
from forebay_operator.reconcile.mint import kept, mint
from forebay_operator.status import Moment, cluster_status, dataset_status

SOON_S = 1.0
"""When to look again while something is under way."""
RESYNC_S = 30.0
"""When to look again anyway: events get lost, members are not watched."""
log = logging.getLogger("forebay.reconcile")


@dataclass(slots=True)
class Reconciler:
    """`now` is wall time in seconds. `attempts` may be lost: then a failed sync is tried again sooner."""

    kube: Kube
    members: Members
    now: Callable[[], float]
    attempts: dict[str, Attempts] = field(default_factory=dict)

    async def reconcile(self, key: Key) -> float | None:
        """-> seconds until the next look; None: when something happens."""
        facts = await observe(self.kube, self.members, key)
        if facts.object is None or facts.model is None:
            return await self._leaderless(facts)
        if facts.model.spec.suspend:
            return None
        if await mint(self.kube, facts, self._moment()):
            facts = await observe(self.kube, self.members, key)
        assert facts.object is not None
        assert facts.model is not None
        taken = taken_buckets(facts.datasets)
        state = self._state(facts, taken)
        outcome = await apply(
            self.kube, plan(desired(facts.object, facts.model.spec, state), facts.children, kept(facts))
        )
        behind = await self._push(facts, state)
        waits = [await self._dataset(facts, dataset, taken=dataset.uid in taken) for dataset in facts.datasets]
        status = cluster_status(facts, outcome, self._text())
        await self._write(facts.object, facts.model.status, status)
        settled = outcome.reason == "UpToDate" and not outcome.done and not behind
        unready = status.ready_replicas != facts.model.spec.replicas
        return min(waits, default=RESYNC_S) if settled and not unready else SOON_S

    async def _leaderless(self, facts: Facts) -> float | None:
        for dataset in facts.datasets:
            status = dataset_status(facts, dataset, dataset.model.status.sync, self._text(), taken=False)
            await self._write(dataset.object, dataset.model.status, status)
        return None

    def _state(self, facts: Facts, taken: frozenset[str]) -> ClusterState:
        states = [
            documents.dataset_state(one.model, one.uid, one.keys, documents.Origins(one.credentials))
            for one in facts.datasets
            if one.uid not in taken
        ]
        return documents.cluster_state(facts.uid, states, facts.state)

    async def _push(self, facts: Facts, state: ClusterState) -> bool:
        """Gives members the state they lack -> whether one is still behind."""
        behind = False
        for member, client in self._answering(facts):
            if member.report is None or member.report.state_version >= state.version:
                continue
            try:
                await client.put_state(state)
            except MemberError as exc:
                log.warning("state not taken", extra={"member": member.pod, "reason": str(exc)})
            behind = True
        return behind

    async def _dataset(self, facts: Facts, dataset: DatasetFacts, *, taken: bool) -> float:
        """Acts on the sync's next step and writes status -> seconds until the next look."""
        asked = str(dataset.object["metadata"].get("annotations", {}).get(names.SYNC_REQUEST, ""))
        attempts = self._counted(dataset)
        step = next_step(dataset.model, dataset.sync, asked, self.now(), attempts)
        status = dataset.model.status
        if isinstance(step, Adopt):
            status = adopted(dataset.model, step.report.commit, self._time)
        elif isinstance(step, Start) and not dataset.missing and not taken:
            started = await self._start(facts, dataset, step.parent)
            if started:
                self.attempts[dataset.uid] = replace(attempts, requested=asked)
                dataset = replace(dataset, sync=started)
        now = replace(dataset, model=dataset.model.model_copy(update={"status": status}))
        sync = sync_status(now.model, dataset.sync, asked, self._times(dataset.sync))
        written = dataset_status(facts, now, sync, self._text(), taken=taken)
        await self._write(dataset.object, dataset.model.status, written)
        waiting = getattr(step, "seconds", SOON_S)
        return RESYNC_S if waiting is None else max(SOON_S, min(waiting, RESYNC_S))

    async def _start(self, facts: Facts, dataset: DatasetFacts, parent: str | None) -> SyncReport | None:
        for member, client in self._answering(facts):
            if member.report and any(one.uid == dataset.uid for one in member.report.datasets):
                try:
                    return await client.start_sync(dataset.uid, SyncRequest(parent=parent))
                except MemberError as exc:
                    log.warning("sync not started", extra={"dataset": dataset.model.metadata.name, "reason": str(exc)})
        return None

    def _counted(self, dataset: DatasetFacts) -> Attempts:
        """Failures in a row, counted once for each report."""
        before = self.attempts.get(dataset.uid, Attempts())
        report = dataset.sync
        if report is None or report.state == "Running" or report.id == before.seen:
            return before
        failures = before.failures + 1 if report.state == "Failed" else 0
        after = self.attempts[dataset.uid] = replace(before, failures=failures, seen=report.id)
        return after

    def _answering(self, facts: Facts) -> Sequence[tuple[MemberFacts, Member]]:
        if facts.operator is None:
            return []
        tls = facts.operator
        return [(one, self.members.at(one.address, api.ADMIN_PORT, tls)) for one in facts.members if one.report]

    async def _write(
        self,
        live: Object,
        before: api.CacheClusterStatus | api.DatasetStatus,
        after: api.CacheClusterStatus | api.DatasetStatus,
    ) -> None:
        """Onto the version that was decided from: a head moves by compare-and-swap."""
        if after == before:
            return
        metadata = live["metadata"]
        body = {
            "apiVersion": live["apiVersion"],
            "kind": live["kind"],
            "metadata": {name: metadata[name] for name in ("name", "namespace", "uid", "resourceVersion")},
            "status": after.model_dump(by_alias=True, exclude_none=True, mode="json"),
        }
        try:
            await self.kube.apply_status(body, manager=FIELD_MANAGER, force=True)
        except (KubeConflict, KubeNotFound):
            await asyncio.sleep(0)  # it changed or went since: its own event brings us back

    def _moment(self) -> dt.datetime:
        return dt.datetime.fromtimestamp(self.now(), dt.UTC)

    def _text(self) -> Moment:
        return Moment(self._time(int(self.now() * 1000)))

    @staticmethod
    def _time(milliseconds: int) -> str:
        return dt.datetime.fromtimestamp(milliseconds // 1000, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def _times(self, report: SyncReport | None) -> Mapping[int, str]:
        moments = (report.started_ms, report.finished_ms) if report else ()
        return {moment: self._time(moment) for moment in moments if moment}


def adopted(dataset: api.Dataset, commit: CommitReport | None, time: Callable[[int], str]) -> api.DatasetStatus:
    """The status with the commit as head; of the older ones as many as are kept, and the pinned one."""
    assert commit is not None
    status, made = dataset.status, time(commit.created_ms)
    head = api.Head(commit=commit.id, files=commit.files, bytes=commit.bytes, time=made)
    row = api.CommitStatus(id=commit.id, time=made, files=commit.files, bytes=commit.bytes, parent=commit.parent)
    older = [one for one in status.commits if one.id != commit.id]
    keep = dataset.spec.commits.keep - 1
    pinned = [one for one in older[keep:] if one.id == dataset.spec.version.commit]
    return status.model_copy(update={"head": head, "commits": (row, *older[:keep], *pinned)})


def taken_buckets(datasets: Sequence[DatasetFacts]) -> frozenset[str]:
    """UIDs of Datasets whose bucket's name an older one has."""
    first: dict[str, DatasetFacts] = {}
    for one in sorted(datasets, key=lambda one: (one.object["metadata"].get("creationTimestamp", ""), one.uid)):
        first.setdefault(bucket(one.model), one)
    return frozenset(one.uid for one in datasets if first[bucket(one.model)] is not one)
