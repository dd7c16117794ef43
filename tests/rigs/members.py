"""A member that answers the operator from memory, as a real one would; its syncs end when the test says so."""

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from forebay_cache.contract.admin import (
    CommitList,
    CommitReport,
    DatasetReport,
    DiffReport,
    MemberReport,
    SyncReport,
    SyncRequest,
)
from forebay_cache.contract.config import ClusterState
from forebay_cache.contract.membership import Membership
from forebay_cache.contract.prefetch import PrefetchReport, PrefetchRequest
from forebay_operator.members.base import TlsFiles
from forebay_operator.model import MemberError, MemberUnavailable

ADDRESS = "127.0.0.9"


@dataclass
class OneMember:
    """A member, and how it is found. `down` makes it silent, `refuses` makes it refuse syncs."""

    tick: Callable[[], int] = lambda: 1
    """Milliseconds, for when syncs start."""
    member: str = field(default_factory=lambda: str(uuid.uuid4()))
    state: ClusterState | None = None
    syncs: dict[str, SyncReport] = field(default_factory=dict)
    started: int = 0
    down: bool = False
    refuses: str = ""
    sync_down: bool = False
    roster: Membership | None = None
    held: asyncio.Event | None = None
    """While there and not set, `report` waits."""

    def at(self, address: str, port: int, tls: TlsFiles) -> "OneMember":
        assert (address, port) == (ADDRESS, 9450)
        assert tls.certificate
        return self

    async def put_state(self, state: ClusterState) -> None:
        if self.state is None or state.version >= self.state.version:
            self.state = state

    async def report(self) -> MemberReport:
        if self.held:
            await self.held.wait()
        if self.down:
            raise MemberUnavailable("no answer in time")
        datasets = self.state.datasets if self.state else ()
        return MemberReport(
            member=self.member, cluster_uid=self.state.cluster_uid if self.state else "", boot_id="b",
            state_version=self.state.version if self.state else -1,
            epoch=self.roster.epoch if self.roster else 0,
            ready=True, capacity_bytes=1000, used_bytes=10, chunks=1, hits=0, misses=0, hit_bytes=0, miss_bytes=0,
            datasets=tuple(DatasetReport(uid=d.uid, head=d.head, cached_bytes=0, cached_chunks=0) for d in datasets),
        )  # fmt: skip

    async def put_membership(self, membership: Membership) -> None:
        if self.down:
            raise MemberUnavailable("no answer in time")
        if self.roster is None or membership.epoch > self.roster.epoch:
            self.roster = membership

    async def membership(self) -> Membership | None:
        return self.roster

    async def start_sync(self, dataset_uid: str, request: SyncRequest) -> SyncReport:
        self.started += 1
        if self.refuses:
            raise MemberError(self.refuses)
        report = SyncReport(id=f"s{self.started}", state="Running", parent=request.parent, started_ms=self.tick())
        self.syncs[dataset_uid] = report
        return report

    async def sync(self, dataset_uid: str) -> SyncReport | None:
        if self.sync_down:
            raise MemberUnavailable("no answer in time")
        return self.syncs.get(dataset_uid)

    async def start_prefetch(self, dataset_uid: str, request: PrefetchRequest) -> PrefetchReport:
        raise NotImplementedError

    async def prefetch(self, dataset_uid: str) -> PrefetchReport | None:
        raise NotImplementedError

    async def stop_prefetch(self, dataset_uid: str) -> PrefetchReport:
        raise NotImplementedError

    async def commits(self, dataset_uid: str) -> CommitList:
        raise NotImplementedError

    async def diff(self, dataset_uid: str, old: str, new: str) -> DiffReport:
        raise NotImplementedError

    async def aclose(self) -> None:
        pass

    def list(self, dataset_uid: str, listed: int) -> None:
        self.syncs[dataset_uid] = self.syncs[dataset_uid].model_copy(update={"listed": listed})

    def end(self, dataset_uid: str, commit: str, now_ms: int) -> None:
        made = CommitReport(id=commit, created_ms=now_ms, files=3, bytes=300, segments=1, chunks=1, image_bytes=1)
        update = {"state": "Succeeded", "commit": made, "finished_ms": now_ms, "listed": 3}
        self.syncs[dataset_uid] = self.syncs[dataset_uid].model_copy(update=update)

    def fail(self, dataset_uid: str, reason: str, now_ms: int) -> None:
        update = {"state": "Failed", "reason": reason, "message": f"{reason}: says the origin", "finished_ms": now_ms}
        self.syncs[dataset_uid] = self.syncs[dataset_uid].model_copy(update=update)
