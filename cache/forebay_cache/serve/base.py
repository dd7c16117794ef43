"""What the faces need of the member, and the values they share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from forebay_cache.catalog.base import Commit
from forebay_cache.contract.admin import CommitList, DiffReport, MemberReport, SyncReport, SyncRequest
from forebay_cache.contract.config import ClusterState, DatasetState
from forebay_cache.contract.membership import Membership
from forebay_cache.contract.prefetch import PrefetchReport, PrefetchRequest
from forebay_cache.model.ids import ChunkId, CommitId


class Served(Protocol):
    """One Dataset as it is served now; `head` is None before the first sync."""

    @property
    def state(self) -> DatasetState: ...
    @property
    def head(self) -> Commit | None: ...


class Snapshot(Protocol):
    """All Datasets at one moment. Immutable: a change is another object."""

    @property
    def by_bucket(self) -> Mapping[str, Served]: ...


class Datasets(Protocol):
    """The newest snapshot, and the commits that listings under way still read."""

    @property
    def snapshot(self) -> Snapshot: ...

    async def commit(self, commit: CommitId) -> Commit:
        """A head or retained commit. Raises NotFound when its catalog files are not here."""
        ...


Accesses = Callable[[ChunkId, int, int], None]
"""Told (chunk, requests, bytes) twice a second for hits the reader did not see, because the S3 face held a lease: for the
eviction policy and the hit counters."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the S3 face. A request beyond one gets an error that names it."""

    connections: int = 4096
    header_bytes: int = 32 << 10
    header_s: float = 10.0
    """From a request's first byte to its last header."""
    idle_s: float = 75.0
    """Between requests of a kept connection."""
    answer_s: float = 60.0
    """Until the first byte of an answer, and between pieces of a body that is being filled."""
    slowest_bytes_s: int = 32 << 10
    """A client that takes less over `slow_s` is disconnected: it would pin evicted chunks."""
    slow_s: float = 20.0
    drain_bytes: int = 16 << 20
    """Body bytes of a refused write that are read and dropped, so that the client sees the refusal."""
    hot_objects: int = 32768
    hot_chunks: int = 1024
    threads: int = 2
    """Threads that wait for bytes which are not in the page cache: each wakes the loop for all that came meanwhile, so more of
    them only pass the GIL around (100 KiB, 64 connections: 62 us of CPU a request with one, 68 with two, 98 with eight); two,
    because one may be stuck on a bad sector."""


class Stopped(Protocol):
    """A running server. `aclose` stops listening, lets answers under way end within a grace, then cuts them."""

    @property
    def port(self) -> int: ...
    async def aclose(self) -> None: ...


class AdminBackend(Protocol):
    """What the admin API does; contract/admin.py says with what. Raises ForebayError."""

    async def put_state(self, state: ClusterState) -> None: ...
    async def report(self) -> MemberReport: ...
    async def put_membership(self, membership: Membership) -> None: ...
    def membership(self) -> Membership | None: ...
    async def start_sync(self, uid: str, request: SyncRequest) -> SyncReport: ...
    async def sync(self, uid: str) -> SyncReport | None: ...
    async def start_prefetch(self, uid: str, request: PrefetchRequest) -> PrefetchReport: ...
    async def prefetch(self, uid: str) -> PrefetchReport | None: ...
    async def stop_prefetch(self, uid: str) -> PrefetchReport: ...
    async def commits(self, uid: str) -> CommitList: ...
    async def diff(self, uid: str, old: str, new: str) -> DiffReport: ...
    def ready(self) -> str | None:
        """Why this member is not ready to serve; None when it is."""
        ...

    def metrics(self) -> bytes: ...
