"""What a reconcile decides from: the world at one moment, as frozen values. Pure."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from forebay_cache.contract.admin import MemberReport, SyncReport
from forebay_cache.contract.config import AccessKey, ClusterState, Credentials
from forebay_operator.api import v1alpha1 as api
from forebay_operator.model import Key, Object, Tls

STATE_FILE = "state.json"
"""In the state Secret: ClusterState."""


@dataclass(frozen=True, slots=True)
class MemberFacts:
    """One pod. `report` is None where the member did not answer; `message` then says why."""

    pod: str
    address: str
    ready: bool
    restarts: int
    report: MemberReport | None
    message: str


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """One Dataset of the cluster. `missing`: what of its Secrets is wrong, as (reason, message)."""

    object: Object
    model: api.Dataset
    keys: AccessKey | None
    credentials: Mapping[str, Credentials]
    missing: tuple[str, str] | None
    sync: SyncReport | None

    @property
    def uid(self) -> str:
        return str(self.object["metadata"]["uid"])


@dataclass(frozen=True, slots=True)
class Facts:
    """One cluster at one moment. `object` is None where there is none, but Datasets name it."""

    key: Key
    object: Object | None
    model: api.CacheCluster | None
    children: Mapping[Key, Object] = field(default_factory=dict)
    members: Sequence[MemberFacts] = ()
    datasets: Sequence[DatasetFacts] = ()
    authority: Tls | None = None
    operator: Tls | None = None
    state: ClusterState | None = None

    @property
    def uid(self) -> str:
        return str(self.object["metadata"]["uid"]) if self.object else ""


def bucket(dataset: api.Dataset) -> str:
    return dataset.spec.s3.bucket or dataset.metadata.name


def served_head(dataset: api.Dataset) -> str | None:
    """The commit readers see: the pinned one if it is there, else the newest."""
    version, status = dataset.spec.version, dataset.status
    if version.mode == "Pinned":
        return version.commit if version.commit in {commit.id for commit in status.commits} else None
    return status.head.commit if status.head else None


def read_state(secret: Object | None) -> ClusterState | None:
    """What `state_secret` wrote; None if there is none, or nobody can read it."""
    data = (secret or {}).get("data", {}).get(STATE_FILE)
    if not data:
        return None
    try:
        return ClusterState.model_validate_json(base64.b64decode(data))
    except ValueError:
        return None
