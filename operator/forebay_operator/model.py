"""Frozen values of the operator and its whole error tree. No I/O."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

FIELD_MANAGER = "forebay"
GROUP = "forebay.dev"


@dataclass(frozen=True, slots=True, order=True)
class Kind:
    """One resource type. `plural` is its name in URLs."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True


CACHE_CLUSTER = Kind(f"{GROUP}/v1alpha1", "CacheCluster", "cacheclusters")
DATASET = Kind(f"{GROUP}/v1alpha1", "Dataset", "datasets")
STATEFUL_SET = Kind("apps/v1", "StatefulSet", "statefulsets")
CONFIG_MAP = Kind("v1", "ConfigMap", "configmaps")
SECRET = Kind("v1", "Secret", "secrets")
SERVICE = Kind("v1", "Service", "services")
POD = Kind("v1", "Pod", "pods")
LEASE = Kind("coordination.k8s.io/v1", "Lease", "leases")
EVENT = Kind("v1", "Event", "events")
KINDS: Mapping[tuple[str, str], Kind] = {
    (kind.api_version, kind.kind): kind
    for kind in (CACHE_CLUSTER, DATASET, STATEFUL_SET, CONFIG_MAP, SECRET, SERVICE, POD, LEASE, EVENT)
}


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Names one object."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind.kind} {self.namespace}/{self.name}"


Object = Mapping[str, Any]
"""An object as the API server gives it: never changed in place."""


def key_of(obj: Object) -> Key:
    """The key of an object of a known kind. Raises BadManifest."""
    kind = KINDS.get((obj.get("apiVersion", ""), obj.get("kind", "")))
    if kind is None:
        raise BadManifest(
            f"unknown kind {obj.get('apiVersion')}/{obj.get('kind')}: expected one of {sorted(k for _, k in KINDS)}"
        )
    metadata = obj.get("metadata") or {}
    return Key(kind, metadata.get("namespace", "default"), metadata.get("name", ""))


@dataclass(frozen=True, slots=True)
class Manifest:
    """An object as we want it. `digest` tells two of our own wants apart, never compares with a live object."""

    key: Key
    body: Object

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(self.body, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Apply:
    """Write a manifest, digest and all."""

    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Delete:
    """`resource_version`: what was decided from; a delete cannot be taken back, so it is refused for any other."""

    key: Key
    uid: str
    resource_version: str = ""


Action = Apply | Delete


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of a run of actions. `reason` is one of the Applied condition's; `done`: actions that succeeded."""

    reason: str = "UpToDate"
    message: str = ""
    done: int = 0


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM bytes; implements members.base.TlsFiles."""

    ca: bytes
    certificate: bytes
    key: bytes


class OperatorError(Exception):
    """Root. `retry`: the same call may succeed later without anyone changing anything."""

    retry: ClassVar[bool] = False


class BadManifest(OperatorError):
    """A manifest or file is wrong; the message holds the object and the field's path."""


class KubeError(OperatorError):
    """The API server refused, in a way that no subclass names."""


class KubeNotFound(KubeError):
    """No such object."""


class KubeConflict(KubeError):
    """A field is owned by another manager, or the object changed since it was read (409). Read again, decide again."""

    retry = True


class KubeExists(KubeError):
    """Create of what is there already."""


class KubeInvalid(KubeError):
    """The object breaks its schema or a rule (422); the message is the server's and names the field."""


class KubeForbidden(KubeError):
    """Not allowed (401, 403)."""


class KubeExpired(KubeError):
    """A watch's resourceVersion is too old (410): list again."""

    retry = True


class KubeUnavailable(KubeError):
    """The API server did not answer in time or is overloaded (429, 5xx)."""

    retry = True


class MemberError(OperatorError):
    """A member refused; the message is the member's."""


class MemberUnavailable(MemberError):
    """A member did not answer in time."""

    retry = True


class Unsupported(OperatorError):
    """This machine or its kernel lacks a part, or this user a right; the message says which."""


class StateInUse(OperatorError):
    """Another `forebay up` holds the state directory."""


class NotReady(OperatorError):
    """What was waited for did not come in time; it may still come."""

    retry = True


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """What is wrong with a monitoring revision, and where. `line` counts from 1; 0 is the whole file.

    `code` is one of monitoring.codes.CODES. A `file` of the shipped pack begins with `pack:`.
    """

    file: str
    line: int
    code: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.code} {self.message}"


class MonitoringRefused(OperatorError):
    """A monitoring revision is not taken; `findings` say why and where."""

    def __init__(self, *findings: Finding) -> None:
        super().__init__("; ".join(map(str, findings)))
        self.findings = findings


class MonitoringLacks(OperatorError):
    """This machine lacks what a check of monitoring needs (promtool, a Git repository); the message says which."""
