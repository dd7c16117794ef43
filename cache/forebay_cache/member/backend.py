"""What a member answers on its admin API (contract/admin.py): over the registry, the catalog, the store and the syncs."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from forebay_cache.catalog.commit import diff
from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.contract.admin import (
    CommitList,
    CommitReport,
    DatasetReport,
    DiffReport,
    MemberReport,
    OriginReport,
    SyncReport,
    SyncRequest,
)
from forebay_cache.contract.config import ClusterState
from forebay_cache.contract.membership import Membership
from forebay_cache.contract.prefetch import PrefetchReport, PrefetchRequest
from forebay_cache.member.durable import save
from forebay_cache.member.prefetch.board import Prefetches
from forebay_cache.member.registry import Registry, Served
from forebay_cache.member.roster import Roster
from forebay_cache.member.scrub import ScrubCounters
from forebay_cache.member.syncs import Syncs
from forebay_cache.model.errors import CatalogCorrupt, NotFound
from forebay_cache.model.ids import CommitId
from forebay_cache.read.counters import ReadCounters
from forebay_cache.store.base import Store

DIFF_LIMIT = 1000
"""Paths of each kind that a diff lists; its counts are exact."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a member is; fixed while it runs. `state_path` is the member's own copy of the newest ClusterState."""

    cluster_uid: str
    boot_id: str
    state_path: str


@dataclass(frozen=True, slots=True)
class Parts:
    """What the backend speaks for."""

    registry: Registry
    catalog: CatalogFiles
    store: Store
    syncs: Syncs
    counters: ReadCounters
    scrub: ScrubCounters
    prefetches: Prefetches
    roster: Roster
    rules_version: Callable[[], int] = lambda: -1


class MemberBackend:
    """Implements serve.base.AdminBackend."""

    def __init__(self, identity: Identity, parts: Parts, exposition: Callable[[], bytes]) -> None:
        self._identity = identity
        self._parts = parts
        self._exposition = exposition
        self._saving = asyncio.Lock()

    async def put_state(self, state: ClusterState) -> None:
        async with self._saving:  # in the order in which they are served, and before one is acknowledged
            if await self._parts.registry.apply(state):
                await asyncio.to_thread(save, self._identity.state_path, state)

    async def put_membership(self, membership: Membership) -> None:
        await self._parts.roster.offer(membership)

    def membership(self) -> Membership | None:
        placement = self._parts.roster.placement
        return placement.membership if placement else None

    async def report(self) -> MemberReport:
        parts, snapshot = self._parts, self._parts.registry.snapshot
        stats = parts.store.stats()
        counters = parts.counters
        return MemberReport(
            member=parts.store.member,
            cluster_uid=self._identity.cluster_uid,
            boot_id=self._identity.boot_id,
            state_version=snapshot.version,
            epoch=parts.roster.epoch,
            ready=self.ready() is None,
            capacity_bytes=stats.capacity,
            used_bytes=stats.used,
            chunks=stats.chunks,
            hits=counters.hits,
            misses=counters.misses,
            hit_bytes=counters.hit_bytes,
            miss_bytes=counters.miss_bytes,
            rules_version=parts.rules_version(),
            datasets=await asyncio.to_thread(self._datasets),
            origins=self._origins(),
            catalog=tuple(await asyncio.to_thread(parts.catalog.quarantine.problems)),
        )

    async def start_sync(self, uid: str, request: SyncRequest) -> SyncReport:
        return self._parts.syncs.start(self._parts.registry.served(uid).state, request.parent)

    async def sync(self, uid: str) -> SyncReport | None:
        return self._parts.syncs.newest(uid)

    async def start_prefetch(self, uid: str, request: PrefetchRequest) -> PrefetchReport:
        return await self._parts.prefetches.start(uid, request)

    async def prefetch(self, uid: str) -> PrefetchReport | None:
        return self._parts.prefetches.newest(uid)

    async def stop_prefetch(self, uid: str) -> PrefetchReport:
        return await self._parts.prefetches.stop(uid)

    async def commits(self, uid: str) -> CommitList:
        return CommitList(commits=tuple(await asyncio.to_thread(self._commits, self._parts.registry.served(uid))))

    async def diff(self, uid: str, old: str, new: str) -> DiffReport:
        served = self._parts.registry.served(uid)
        known = {served.state.head, *served.state.retained}
        for commit in (old, new):
            if commit not in known:
                raise NotFound(f"commit {commit} is not one of Dataset {served.state.name}'s; see `forebay commits`")
        return await asyncio.to_thread(self._diff, old, new)

    def ready(self) -> str | None:
        if self._parts.registry.snapshot.version < 0:
            return "waiting for the first cluster state from the operator"
        return None

    def metrics(self) -> bytes:
        return self._exposition()

    def _commits(self, served: Served) -> list[CommitReport]:
        found = []
        for commit in dict.fromkeys((served.state.head, *served.state.retained)):
            try:
                found += [self._parts.catalog.report(CommitId(commit))] if commit else []
            except (NotFound, CatalogCorrupt):
                continue  # retained, but its files are elsewhere, or damaged: the member's report says so
        return sorted(found, key=lambda report: report.created_ms, reverse=True)

    def _diff(self, old: str, new: str) -> DiffReport:
        catalog = self._parts.catalog
        return diff(catalog.commit(CommitId(old)), catalog.commit(CommitId(new)), limit=DIFF_LIMIT)

    def _datasets(self) -> tuple[DatasetReport, ...]:
        return tuple(self._dataset(one) for one in self._parts.registry.snapshot.by_uid.values())

    def _dataset(self, served: Served) -> DatasetReport:
        usage = self._parts.store.usage(served.head.segments()) if served.head else None
        charged = self._parts.store.charged().get(served.state.uid)
        return DatasetReport(
            uid=served.state.uid,
            head=served.head.id if served.head else None,
            cached_bytes=usage.bytes if usage else 0,
            cached_chunks=usage.chunks if usage else 0,
            charged_bytes=charged.bytes if charged else 0,
        )

    def _origins(self) -> tuple[OriginReport, ...]:
        return tuple(
            OriginReport(
                identity=identity,
                requests=counters.requests,
                bytes=counters.bytes,
                errors=counters.errors,
                reachable=not counters.message,
                message=counters.message,
            )
            for identity, counters in self._parts.counters.origins.items()
        )
