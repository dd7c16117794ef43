"""What a reconcile decides from: the world at one moment, as frozen values. Pure."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from forebay_cache.contract.admin import MemberReport, SyncReport
from forebay_cache.contract.config import AccessKey, ClusterState, Credentials
from forebay_cache.placement.adoption import read
from forebay_cache.placement.lookup import Placement
from forebay_operator import names
from forebay_operator.api import v1alpha1 as api
from forebay_operator.model import Key, Object, Tls

STATE_FILE = "state.json"
"""In the state Secret: ClusterState."""
MEMBERSHIP_FILE = "membership.json"
"""In the membership's ConfigMap."""


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
    """One Dataset of the cluster. `secret`: the one with its S3 keys, if it is the Dataset's own; `secret_taken`: somebody
    else has its name. `missing`: what of its origins' Secrets is wrong, as (reason, message)."""

    object: Object
    model: api.Dataset
    secret: Object | None
    secret_taken: bool
    credentials: Mapping[str, Credentials]
    missing: tuple[str, str] | None
    sync: SyncReport | None

    @property
    def uid(self) -> str:
        return str(self.object["metadata"]["uid"])

    @property
    def keys(self) -> AccessKey | None:
        return read_keys(self.secret)


@dataclass(frozen=True, slots=True)
class Facts:
    """One cluster at one moment. `object` is None where there is none, but Datasets name it.

    `foreign`: objects that have a name of ours and belong to somebody else. `unreadable`: UIDs of Datasets that a newer
    operator wrote; they stay as they were.
    """

    key: Key
    object: Object | None
    model: api.CacheCluster | None
    children: Mapping[Key, Object] = field(default_factory=dict)
    members: Sequence[MemberFacts] = ()
    datasets: Sequence[DatasetFacts] = ()
    authority: Tls | None = None
    operator: Tls | None = None
    state: ClusterState | None = None
    membership: Placement | None = None
    """None also where the API server has one that cannot be read."""
    foreign: frozenset[Key] = frozenset()
    unreadable: frozenset[str] = frozenset()

    @property
    def uid(self) -> str:
        return str(self.object["metadata"]["uid"]) if self.object else ""

    @property
    def pushed_version(self) -> int:
        """The highest version of the state that a member has of this cluster."""
        reports = [one.report for one in self.members if one.report]
        return max((one.state_version for one in reports if one.cluster_uid == self.uid), default=0)


def bucket(dataset: api.Dataset) -> str:
    return dataset.spec.s3.bucket or dataset.metadata.name


def served_head(dataset: api.Dataset) -> str | None:
    """The commit readers see: the pinned one if it is there, else the newest."""
    version, status = dataset.spec.version, dataset.status
    if version.mode == "Pinned":
        return version.commit if version.commit in {commit.id for commit in status.commits} else None
    return status.head.commit if status.head else None


def taken_buckets(datasets: Sequence[DatasetFacts]) -> frozenset[str]:
    """UIDs of Datasets whose bucket's name an older one has."""
    first: dict[str, DatasetFacts] = {}
    for one in sorted(datasets, key=lambda one: (one.object["metadata"].get("creationTimestamp", ""), one.uid)):
        first.setdefault(bucket(one.model), one)
    return frozenset(one.uid for one in datasets if first[bucket(one.model)] is not one)


def endpoint(facts: Facts) -> str | None:
    """URL of the S3 face: the Service's name where there is a network of Services, else a member's own address."""
    assert facts.model is not None
    port, service = facts.model.spec.s3.port, names.s3(facts.key.namespace, facts.key.name)
    live = facts.children.get(service)
    if live and live.get("spec", {}).get("clusterIP"):
        return f"http://{service.name}.{service.namespace}.svc:{port}"
    address = next((one.address for one in facts.members if one.ready and one.address), None)
    return f"http://{address}:{port}" if address else facts.model.status.endpoint


def read_keys(secret: Object | None) -> AccessKey | None:
    """What `keys_secret` wrote; None if there is none, or a part is missing."""
    try:
        data = {name: base64.b64decode(value).decode() for name, value in (secret or {})["data"].items()}
        return AccessKey.model_validate(
            {"access_key_id": data["AWS_ACCESS_KEY_ID"], "secret_access_key": data["AWS_SECRET_ACCESS_KEY"]}
        )
    except (KeyError, ValueError):
        return None


def read_state(secret: Object | None) -> ClusterState | None:
    """What `state_secret` wrote; None if there is none, or nobody can read it."""
    data = (secret or {}).get("data", {}).get(STATE_FILE)
    if not data:
        return None
    try:
        return ClusterState.model_validate_json(base64.b64decode(data))
    except ValueError:
        return None


def read_membership(config_map: Object | None, cluster_uid: str) -> Placement | None:
    """What `reconcile.membership` wrote; None if there is none, or nobody can read it."""
    data = ((config_map or {}).get("data") or {}).get(MEMBERSHIP_FILE)
    return read(data, cluster_uid) if data else None
