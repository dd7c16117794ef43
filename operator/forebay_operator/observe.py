"""Reads the world: everything a reconcile of one cluster decides from. The only reads."""

import base64
from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from forebay_cache.contract.admin import SyncReport
from forebay_cache.contract.config import AccessKey, Credentials
from forebay_operator import names, tls
from forebay_operator.api import v1alpha1 as api
from forebay_operator.facts import DatasetFacts, Facts, MemberFacts, read_state
from forebay_operator.kube.base import Kube
from forebay_operator.members.base import Members
from forebay_operator.model import (
    CACHE_CLUSTER,
    CONFIG_MAP,
    DATASET,
    POD,
    SECRET,
    SERVICE,
    STATEFUL_SET,
    Key,
    KubeNotFound,
    MemberError,
    Object,
    Tls,
    key_of,
)

CHILD_KINDS = (SECRET, CONFIG_MAP, SERVICE, STATEFUL_SET)


async def observe(kube: Kube, members: Members, key: Key) -> Facts:
    cluster = await _get(kube, key)
    datasets = [one for one in (await kube.list(DATASET, key.namespace)).items if _cluster_of(one) == key.name]
    if cluster is None:
        found = [await _dataset(kube, one, None) for one in datasets]
        return Facts(key, None, None, datasets=found)
    children = await _children(kube, key)
    operator = _tls(children, names.operator_tls(key.namespace, key.name))
    seen = await _members(kube, members, key, operator)
    syncs = await _syncs(members, seen, operator, datasets)
    return Facts(
        key,
        cluster,
        api.CacheCluster.model_validate(cluster),
        children,
        seen,
        [await _dataset(kube, one, syncs.get(one["metadata"]["uid"])) for one in datasets],
        _tls(children, names.authority(key.namespace, key.name)),
        operator,
        read_state(children.get(names.state(key.namespace, key.name))),
    )


async def _children(kube: Kube, key: Key) -> Mapping[Key, Object]:
    """Objects that carry the cluster's label and are not pods' or Datasets'."""
    labels = {names.CLUSTER_LABEL: key.name}
    found = [one for kind in CHILD_KINDS for one in (await kube.list(kind, key.namespace, labels)).items]
    owners = [[owner["kind"] for owner in one["metadata"].get("ownerReferences", ())] for one in found]
    return {key_of(one): one for one, kinds in zip(found, owners, strict=True) if CACHE_CLUSTER.kind in kinds}


async def _members(kube: Kube, members: Members, key: Key, operator: Tls | None) -> list[MemberFacts]:
    pods = (await kube.list(POD, key.namespace, {names.CLUSTER_LABEL: key.name})).items
    return [await _member(members, pod, operator) for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["name"]))]


async def _member(members: Members, pod: Object, operator: Tls | None) -> MemberFacts:
    status = pod.get("status") or {}
    address = str(status.get("podIP") or "")
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions", ()))
    restarts = sum(one.get("restartCount", 0) for one in status.get("containerStatuses", ()))
    report, message = None, _waiting(status)
    if address and operator and status.get("phase") == "Running":
        try:
            report = await members.at(address, api.ADMIN_PORT, operator).report()
        except MemberError as exc:
            message = message or str(exc)
    return MemberFacts(str(pod["metadata"]["name"]), address, ready, restarts, report, message)


def _waiting(status: Mapping[str, object]) -> str:
    """Why the kubelet says a container does not run."""
    for one in status.get("containerStatuses", ()):  # type: ignore[attr-defined]
        waiting = (one.get("state") or {}).get("waiting")
        if waiting:
            return f"{waiting.get('reason', 'Waiting')}: {waiting.get('message', '')}".rstrip(": ")
    return ""


async def _syncs(
    members: Members, seen: Sequence[MemberFacts], operator: Tls | None, datasets: Sequence[Object]
) -> Mapping[str, SyncReport]:
    """The newest sync of each Dataset that any member knows."""
    found: dict[str, SyncReport] = {}
    for member in seen:
        if member.report is None or operator is None:
            continue
        known = {dataset.uid for dataset in member.report.datasets}
        client = members.at(member.address, api.ADMIN_PORT, operator)
        for uid in (str(one["metadata"]["uid"]) for one in datasets):
            report = await client.sync(uid) if uid in known else None
            if report and (uid not in found or found[uid].started_ms < report.started_ms):
                found[uid] = report
    return found


async def _dataset(kube: Kube, one: Object, sync: SyncReport | None) -> DatasetFacts:
    model = api.Dataset.model_validate(one)
    namespace = str(one["metadata"]["namespace"])
    credentials, missing = await _credentials(kube, namespace, model)
    secret = await _get(kube, names.keys(namespace, model.metadata.name))
    return DatasetFacts(one, model, _access_key(secret), credentials, missing, sync)


async def _credentials(
    kube: Kube, namespace: str, model: api.Dataset
) -> tuple[Mapping[str, Credentials], tuple[str, str] | None]:
    found: dict[str, Credentials] = {}
    for source in model.spec.sources:
        if source.credentials is None:
            continue
        name = source.credentials.secret_ref.name
        secret = await _get(kube, Key(SECRET, namespace, name))
        if secret is None:
            return found, ("SecretMissing", f"source {source.name} needs Secret {namespace}/{name}: create it")
        try:
            found[source.name] = _origin_keys(secret)
        except (KeyError, ValueError, ValidationError):
            wanted = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            return found, ("SecretIncomplete", f"Secret {namespace}/{name} of source {source.name} needs {wanted}")
    return found, None


def _origin_keys(secret: Object) -> Credentials:
    data = {name: base64.b64decode(value).decode() for name, value in secret.get("data", {}).items()}
    return Credentials.model_validate(
        {
            "access_key_id": data["AWS_ACCESS_KEY_ID"],
            "secret_access_key": data["AWS_SECRET_ACCESS_KEY"],
            "session_token": data.get("AWS_SESSION_TOKEN"),
        }
    )


def _access_key(secret: Object | None) -> AccessKey | None:
    try:
        data = {name: base64.b64decode(value).decode() for name, value in (secret or {})["data"].items()}
        return AccessKey.model_validate(
            {"access_key_id": data["AWS_ACCESS_KEY_ID"], "secret_access_key": data["AWS_SECRET_ACCESS_KEY"]}
        )
    except (KeyError, ValueError):
        return None


def _tls(children: Mapping[Key, Object], key: Key) -> Tls | None:
    secret = children.get(key)
    return tls.read_tls(secret.get("data", {})) if secret else None


def _cluster_of(dataset: Object) -> str:
    return str(dataset.get("spec", {}).get("clusterRef", {}).get("name", ""))


async def _get(kube: Kube, key: Key) -> Object | None:
    try:
        return await kube.get(key)
    except KubeNotFound:
        return None
