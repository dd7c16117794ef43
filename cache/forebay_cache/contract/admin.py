"""Admin API of a member: HTTP and JSON, on its own port, mutual TLS.

PUT  /v1/state                                   body ClusterState -> 204
GET  /v1/report                                  -> MemberReport
PUT  /v1/membership                              body Membership -> 204 (older or the same: nothing changes)
GET  /v1/membership                              -> Membership (404: none came yet)
POST /v1/datasets/{uid}/sync                     body SyncRequest -> SyncReport (starts one, or returns the one running)
GET  /v1/datasets/{uid}/sync                     -> SyncReport of the newest sync (404: never ran here)
GET  /v1/datasets/{uid}/commits                  -> CommitList, newest first
GET  /v1/datasets/{uid}/diff?old=ID&new=ID       -> DiffReport
GET  /healthz  /readyz  /metrics                 plain text; these three also without a client certificate

Errors are AdminError with the HTTP status: 400 bad document, 404 unknown Dataset or commit, 409 conflict, 503 not ready.
"""

from typing import Literal

from pydantic import Field

from forebay_cache.contract.config import Document

COMMIT_PATTERN = r"^[0-9a-f]{64}$"


class AdminError(Document):
    """`reason` is a stable word in CamelCase; `message` names the object, the limit and the next step."""

    reason: str
    message: str


class CommitReport(Document):
    """One commit's record."""

    id: str = Field(pattern=COMMIT_PATTERN)
    parent: str | None = None
    created_ms: int
    files: int
    bytes: int
    segments: int
    chunks: int
    image_bytes: int
    unmountable: int = 0
    """Keys that POSIX cannot hold: S3 lists them, the image leaves them out."""
    unmountable_first: tuple[str, ...] = ()


class SyncRequest(Document):
    """`parent`: the head the proposal must build on (None: first sync)."""

    parent: str | None = None


class SyncReport(Document):
    """State of one sync. `Succeeded` has a commit: a proposal the operator makes the head by compare-and-swap; the same
    id as the parent means nothing changed."""

    id: str
    state: Literal["Running", "Succeeded", "Failed"]
    parent: str | None = None
    started_ms: int
    finished_ms: int | None = None
    listed: int = 0
    """Objects listed so far."""
    phase: str = ""
    commit: CommitReport | None = None
    reason: str = ""
    """On failure a stable word: OriginDenied, OriginMissing, OriginUnavailable, Killed, CatalogFull, Failed."""
    message: str = ""


class CommitList(Document):
    commits: tuple[CommitReport, ...]


class DiffReport(Document):
    """Paths that differ, at most `limit` of each kind; the counts are exact."""

    old: str
    new: str
    added: int
    removed: int
    changed: int
    added_paths: tuple[str, ...] = ()
    removed_paths: tuple[str, ...] = ()
    changed_paths: tuple[str, ...] = ()


class OriginReport(Document):
    """Traffic to one origin since the member started, and whether it answers."""

    identity: str
    requests: int
    bytes: int
    errors: int
    reachable: bool
    message: str = ""


class DatasetReport(Document):
    uid: str
    head: str | None
    cached_bytes: int
    cached_chunks: int
    charged_bytes: int = 0
    """Disk that counts as this Dataset's: chunks of all its commits, but those that a Dataset of higher priority pays for."""


class CatalogProblem(Document):
    """A catalog file that was found damaged, was set aside and is not replaced yet. `message`: what it means, and what to do."""

    name: str
    message: str


class MemberReport(Document):
    """What one member knows of itself. `state_version`: of the ClusterState it serves."""

    member: str
    cluster_uid: str
    boot_id: str
    state_version: int
    epoch: int = 0
    """Of the membership it goes by; 0: it knows none, and is alone."""
    ready: bool
    capacity_bytes: int
    used_bytes: int
    chunks: int
    hits: int
    misses: int
    hit_bytes: int
    miss_bytes: int
    rules_version: int = -1
    """Of the ClusterState whose cache rules the store goes by; a second or so behind `state_version`."""
    datasets: tuple[DatasetReport, ...] = ()
    origins: tuple[OriginReport, ...] = ()
    catalog: tuple[CatalogProblem, ...] = ()
