"""One look at one cluster, on one screen: observe, mint, desired, plan, apply, push, Datasets, status."""

import datetime as dt
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from forebay_cache.contract.config import ClusterState
from forebay_operator import names
from forebay_operator.apply import apply
from forebay_operator.desired import desired, documents
from forebay_operator.facts import Facts, taken_buckets
from forebay_operator.kube.base import Kube
from forebay_operator.lifecycle.sync import Attempts
from forebay_operator.members.base import Members
from forebay_operator.model import DATASET, Apply, Key, OperatorError, Outcome
from forebay_operator.observe import observe
from forebay_operator.plan import plan
from forebay_operator.reconcile.dataset import DatasetLook
from forebay_operator.reconcile.membership import publish
from forebay_operator.reconcile.mint import kept, mint
from forebay_operator.reconcile.push import push
from forebay_operator.reconcile.showing import shown
from forebay_operator.reconcile.tally import Tally
from forebay_operator.reconcile.write import StatusWriter, Tell, rfc3339
from forebay_operator.status import Moment, cluster_status, dataset_status, last_outcome

SOON_S = 0.2
"""When to look again after something changed; twice as long each time nothing did."""
RESYNC_S = 30.0
"""When to look again anyway: events get lost, members are not watched."""
log = logging.getLogger("forebay.reconcile")


@dataclass(slots=True)
class Memory:
    """What is remembered of a cluster between two looks. It may be lost: then some things are tried again sooner."""

    attempts: dict[str, Attempts] = field(default_factory=dict)
    seen: object = None
    same: int = 0

    def patience(self, seen: object) -> float:
        """Seconds until an unsettled cluster is looked at again: events tell sooner, where there are events."""
        self.same = self.same + 1 if seen == self.seen else 0
        self.seen = seen
        return float(min(RESYNC_S, SOON_S * 2 ** min(self.same, 32)))


@dataclass(slots=True)
class Reconciler:
    """`now` is wall time in seconds."""

    kube: Kube
    members: Members
    now: Callable[[], float]
    tally: Tally
    tell: Tell
    memories: dict[Key, Memory] = field(default_factory=dict)

    async def reconcile(self, key: Key) -> float | None:
        """-> seconds until the next look; None: when something happens."""
        facts = await observe(self.kube, self.members, key)
        ours = facts.model and not facts.model.spec.suspend and not facts.model.metadata.deletion_timestamp
        if ours and await mint(self.kube, facts, dt.datetime.fromtimestamp(self.now(), dt.UTC)):
            facts = await observe(self.kube, self.members, key)
        self.tally.saw(key, shown(facts))
        if facts.object is None or facts.model is None:
            return await self._leaderless(facts)
        if facts.model.metadata.deletion_timestamp:
            return None  # what belongs to it is being collected
        if facts.model.spec.suspend:
            return None if await self._write(facts, last_outcome(facts)) else RESYNC_S
        return await self._walk(facts, self.memories.setdefault(key, Memory()))

    async def _walk(self, facts: Facts, memory: Memory) -> float:
        assert facts.model is not None
        taken = taken_buckets(facts.datasets)
        state = documents.wanted_state(facts, taken)
        outcome, durable = await self._apply(facts, state)
        # before it is written down no member may have it: the next look could give its version to another content
        behind = await push(self.members, facts, state) if durable else 0
        behind += await publish(self.kube, self.members, facts, self.now())
        due = await self._datasets(facts, memory, taken)
        wrote = await self._write(facts, outcome)
        ready = sum(one.ready for one in facts.members) == facts.model.spec.replicas == len(facts.members)
        seen = (tuple((one.pod, one.ready, one.restarts, one.report is None) for one in facts.members), outcome, behind)
        if outcome.reason == "UpToDate" and ready and wrote and not behind:
            memory.patience(None)
            return min(due, RESYNC_S)
        return min(due, memory.patience(seen))

    async def _apply(self, facts: Facts, state: ClusterState) -> tuple[Outcome, bool]:
        """-> and whether `state` is written down."""
        assert facts.object is not None
        assert facts.model is not None
        wanted = [one for one in desired(facts.object, facts.model.spec, state) if one.key not in facts.foreign]
        actions = plan(wanted, facts.children, kept(facts))
        outcome = await apply(self.kube, actions)
        left = {one.manifest.key if isinstance(one, Apply) else one.key for one in actions[outcome.done :]}
        durable = names.state(facts.key.namespace, facts.key.name) not in left | facts.foreign
        if facts.foreign and outcome.reason == "UpToDate":
            theirs = ", ".join(map(str, sorted(facts.foreign)))
            message = f"{theirs}: there is one that is not this cluster's; delete or rename it, or rename the cluster"
            outcome = replace(outcome, reason="Conflict", message=message)
        return outcome, durable

    async def _datasets(self, facts: Facts, memory: Memory, taken: frozenset[str]) -> float:
        """Each by itself, one that fails keeps no other waiting -> seconds until the first is due."""
        look = DatasetLook(self.kube, self.members, self.now, self._statuses)
        due, attempts = RESYNC_S, dict[str, Attempts]()
        for one in facts.datasets:
            attempts[one.uid] = memory.attempts.get(one.uid, Attempts())
            try:
                with self.tally.look(DATASET):
                    attempts[one.uid], wait = await look.look(facts, one, attempts[one.uid], taken=one.uid in taken)
            except OperatorError as exc:
                log.warning("Dataset failed", extra={"dataset": one.model.metadata.name, "reason": str(exc)})
                continue
            due = min(due, RESYNC_S if wait is None else wait)
        memory.attempts = attempts
        return due

    async def _leaderless(self, facts: Facts) -> float | None:
        """Datasets that name a cluster which is not there say so."""
        self.memories.pop(facts.key, None)
        wrote = True
        for one in facts.datasets:
            status = dataset_status(facts, one, one.model.status.sync, self._moment(), taken=False)
            wrote = await self._statuses.write(one.object, one.model.status, status) and wrote
        return None if wrote else RESYNC_S

    async def _write(self, facts: Facts, outcome: Outcome) -> bool:
        assert facts.object is not None
        assert facts.model is not None
        status = cluster_status(facts, outcome, self._moment())
        return await self._statuses.write(facts.object, facts.model.status, status)

    @property
    def _statuses(self) -> StatusWriter:
        return StatusWriter(self.kube, self.tell)

    def _moment(self) -> Moment:
        return Moment(rfc3339(int(self.now() * 1000)))
