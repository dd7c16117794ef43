"""Reads the world: everything a reconcile of one cluster decides from. The only reads."""

import base64
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pydantic import ValidationError

from forebay_cache.contract.admin import SyncReport
from forebay_cache.contract.config import Credentials
from forebay_operator import names, tls
from forebay_operator.api import conditions as words
from forebay_operator.api import v1alpha1 as api
from forebay_operator.facts import DatasetFacts, Facts, MemberFacts, read_membership, read_state
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
    BadManifest,
    Key,
    Kind,
    KubeNotFound,
    MemberError,
    Object,
    Tls,
    key_of,
)

CHILD_KINDS = (SECRET, CONFIG_MAP, SERVICE, STATEFUL_SET)
FOLLOWED: Mapping[Kind, Mapping[str, str]] = {
    CACHE_CLUSTER: {},
    DATASET: {},
    **dict.fromkeys((*CHILD_KINDS, POD), names.OURS),
}
"""What a look needs in memory, by labels: Secrets of others are read by name, for nobody should have to let us list them."""
log = logging.getLogger("forebay.observe")


async def observe(kube: Kube, members: Members, key: Key) -> Facts:
    """Raises BadManifest for a CacheCluster that this operator cannot read; such Datasets are `unreadable`."""
    cluster = await _get(kube, key)
    objects = [one for one in (await kube.list(DATASET, key.namespace)).items if _cluster_of(one) == key.name]
    models = {str(one["metadata"]["uid"]): _readable(one) for one in objects}
    labelled = await _labelled(kube, key)
    datasets = [
        await _dataset(kube, one, model, labelled) for one in objects if (model := models[one["metadata"]["uid"]])
    ]
    unreadable = frozenset(uid for uid, model in models.items() if model is None)
    if cluster is None:
        return Facts(key, None, None, datasets=datasets, unreadable=unreadable)
    children, foreign = await _children(kube, key, cluster, labelled)
    operator = _tls(children, names.operator_tls(key.namespace, key.name))
    seen, syncs = await _members(kube, members, key, operator)
    return Facts(
        key,
        cluster,
        _model(cluster),
        children,
        seen,
        [replace(one, sync=syncs.get(one.uid)) for one in datasets],
        _tls(children, names.authority(key.namespace, key.name)),
        operator,
        read_state(children.get(names.state(key.namespace, key.name))),
        read_membership(children.get(names.membership(key.namespace, key.name)), str(cluster["metadata"]["uid"])),
        foreign,
        unreadable,
    )


def _model(cluster: Object) -> api.CacheCluster:
    try:
        return api.CacheCluster.model_validate(cluster)
    except ValidationError as exc:
        raise BadManifest(f"CacheCluster {cluster['metadata']['name']} is of a newer operator: {exc}") from exc


def _readable(one: Object) -> api.Dataset | None:
    try:
        return api.Dataset.model_validate(one)
    except ValidationError as exc:
        message = "a Dataset of a newer operator stays as it is"
        log.warning(message, extra={"dataset": one["metadata"]["name"], "fields": exc.error_count()})
        return None


Objects = Mapping[Key, Object]


async def _labelled(kube: Kube, key: Key) -> Objects:
    labels = {**names.OURS, names.CLUSTER_LABEL: key.name}
    return {key_of(one): one for kind in CHILD_KINDS for one in (await kube.list(kind, key.namespace, labels)).items}


async def _children(kube: Kube, key: Key, cluster: Object, labelled: Objects) -> tuple[Objects, frozenset[Key]]:
    """What belongs to the cluster, by reference; and what only has a name of ours. A label that somebody took away
    hides nothing: certificates made twice would lock members out."""
    found = dict(labelled)
    expected = names.of_cluster(key.namespace, key.name)
    for name in expected - found.keys():
        if one := await _get(kube, name, live=True):
            found[name] = one
    ours = {name: one for name, one in found.items() if names.is_controlled(one, cluster["metadata"]["uid"])}
    return ours, frozenset(expected & (found.keys() - ours.keys()))


Syncs = Mapping[str, SyncReport]
"""The newest sync of each Dataset, by its UID."""


async def _members(kube: Kube, members: Members, key: Key, operator: Tls | None) -> tuple[Sequence[MemberFacts], Syncs]:
    pods = (await kube.list(POD, key.namespace, {**names.OURS, names.CLUSTER_LABEL: key.name})).items
    seen, syncs = [], dict[str, SyncReport]()
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["name"])):
        member, found = await _member(members, pod, operator)
        seen.append(member)
        for uid, report in found.items():
            if uid not in syncs or syncs[uid].started_ms < report.started_ms:
                syncs[uid] = report
    return seen, syncs


async def _member(members: Members, pod: Object, operator: Tls | None) -> tuple[MemberFacts, Syncs]:
    """A member that stops answering halfway has not answered: half an answer would look like a sync that never ran."""
    status = pod.get("status") or {}
    member = MemberFacts(
        pod=str(pod["metadata"]["name"]),
        address=str(status.get("podIP") or ""),
        ready=any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions") or ()),
        restarts=sum(one.get("restartCount", 0) for one in status.get("containerStatuses") or ()),
        report=None,
        message=_waiting(status),
    )
    if not (member.address and operator and status.get("phase") == "Running"):
        return member, {}
    try:
        client = members.at(member.address, api.ADMIN_PORT, operator)
        report = await client.report()
        syncs = {one.uid: await client.sync(one.uid) for one in report.datasets}
    except MemberError as exc:
        return replace(member, message=member.message or str(exc)), {}
    return replace(member, report=report), {uid: sync for uid, sync in syncs.items() if sync}


def _waiting(status: Mapping[str, object]) -> str:
    """Why the kubelet says a container does not run."""
    for one in status.get("containerStatuses") or ():  # type: ignore[attr-defined]
        waiting = (one.get("state") or {}).get("waiting")
        if waiting:
            return f"{waiting.get('reason', 'Waiting')}: {waiting.get('message', '')}".rstrip(": ")
    return ""


async def _dataset(kube: Kube, one: Object, model: api.Dataset, labelled: Objects) -> DatasetFacts:
    namespace = str(one["metadata"]["namespace"])
    credentials, missing = await _credentials(kube, namespace, model)
    key = names.keys(namespace, model.metadata.name)
    secret = labelled.get(key)
    if secret is None and model.spec.s3.access == "Keys":
        secret = await _get(kube, key, live=True)
    ours = secret if secret and names.is_controlled(secret, one["metadata"]["uid"]) else None
    return DatasetFacts(one, model, ours, secret is not ours, credentials, missing, None)


async def _credentials(
    kube: Kube, namespace: str, model: api.Dataset
) -> tuple[Mapping[str, Credentials], tuple[str, str] | None]:
    """Of each source that names a Secret; read anew while something is wrong with them."""
    found: dict[str, Credentials] = {}
    given = any((one.type, one.reason) == (words.CREDENTIALS_VALID, "Given") for one in model.status.conditions)
    for source in model.spec.sources:
        if source.credentials is None:
            continue
        name = source.credentials.secret_ref.name
        secret = await _get(kube, Key(SECRET, namespace, name), live=not given)
        if secret is None:
            return found, ("SecretMissing", f"source {source.name} needs Secret {namespace}/{name}: create it")
        try:
            found[source.name] = _origin_keys(secret)
        except (KeyError, ValueError):
            wanted = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            return found, ("SecretIncomplete", f"Secret {namespace}/{name} of source {source.name} needs {wanted}")
    return found, None


def _origin_keys(secret: Object) -> Credentials:
    data = {name: base64.b64decode(value).decode() for name, value in (secret.get("data") or {}).items()}
    return Credentials.model_validate(
        {
            "access_key_id": data["AWS_ACCESS_KEY_ID"],
            "secret_access_key": data["AWS_SECRET_ACCESS_KEY"],
            "session_token": data.get("AWS_SESSION_TOKEN"),
        }
    )


def _tls(children: Mapping[Key, Object], key: Key) -> Tls | None:
    secret = children.get(key)
    return tls.read_tls(secret.get("data") or {}) if secret else None


def _cluster_of(dataset: Object) -> str:
    return str(dataset.get("spec", {}).get("clusterRef", {}).get("name", ""))


async def _get(kube: Kube, key: Key, *, live: bool = False) -> Object | None:
    try:
        return await kube.get(key, live=live)
    except KubeNotFound:
        return None
