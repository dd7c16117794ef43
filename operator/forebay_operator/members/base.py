"""What the operator asks of one member. Documents are those of forebay_cache.contract."""

from typing import Protocol

from forebay_cache.contract.admin import CommitList, DiffReport, MemberReport, SyncReport, SyncRequest
from forebay_cache.contract.config import ClusterState

SERVER_NAME = "member.forebay"
"""In every member's admin certificate: members are called by address and checked by this; each cluster has its own CA."""


class Member(Protocol):
    """One member's admin API. Raises MemberError, MemberUnavailable; every call ends within its own deadline (5 s)."""

    async def put_state(self, state: ClusterState) -> None: ...
    async def report(self) -> MemberReport: ...
    async def start_sync(self, dataset_uid: str, request: SyncRequest) -> SyncReport: ...
    async def sync(self, dataset_uid: str) -> SyncReport | None: ...
    async def commits(self, dataset_uid: str) -> CommitList: ...
    async def diff(self, dataset_uid: str, old: str, new: str) -> DiffReport: ...


class Members(Protocol):
    """Finds members. `address` is a pod's IP; the TLS names and keys come from the cluster's admin Secret. Raises
    MemberError where these cannot be read."""

    def at(self, address: str, port: int, tls: "TlsFiles") -> Member: ...
    async def aclose(self) -> None: ...


class TlsFiles(Protocol):
    """PEM bytes of the operator's side of mutual TLS."""

    @property
    def ca(self) -> bytes: ...
    @property
    def certificate(self) -> bytes: ...
    @property
    def key(self) -> bytes: ...
