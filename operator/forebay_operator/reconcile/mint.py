"""Makes the Secrets that only randomness can make, once: a cluster's certificates, a Dataset's S3 keys."""

import base64
import datetime as dt
from collections.abc import Mapping

from forebay_operator import names, tls
from forebay_operator.facts import DatasetFacts, Facts, bucket
from forebay_operator.kube.base import Kube
from forebay_operator.members.base import SERVER_NAME
from forebay_operator.model import FIELD_MANAGER, Key, Object


def kept(facts: Facts) -> frozenset[Key]:
    """Minted Secrets of the cluster: never rewritten, never pruned."""
    where = facts.key.namespace, facts.key.name
    return frozenset((names.authority(*where), names.member_tls(*where), names.operator_tls(*where)))


async def mint(kube: Kube, facts: Facts, now: dt.datetime) -> bool:
    """Creates what is missing -> whether there was anything."""
    assert facts.object is not None
    made = False
    where = facts.key.namespace, facts.key.name
    authority = facts.authority
    if authority is None:
        authority = tls.mint_authority(facts.key.name, now)
        await _write(kube, names.authority(*where), facts.object, facts.key.name, tls.secret_data(authority))
        made = True
    for key, name, server in (
        (names.member_tls(*where), SERVER_NAME, True),
        (names.operator_tls(*where), "operator.forebay", False),
    ):
        if made or key not in facts.children:
            leaf = tls.mint_leaf(authority, name, now, server=server)
            await _write(kube, key, facts.object, facts.key.name, tls.secret_data(leaf))
            made = True
    for dataset in facts.datasets:
        made = await _mint_keys(kube, facts, dataset) or made
    return made


async def _mint_keys(kube: Kube, facts: Facts, dataset: DatasetFacts) -> bool:
    if dataset.keys or dataset.model.spec.s3.access != "Keys":
        return False
    access_key, secret_key = tls.mint_access_key()
    text = {
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret_key,
        "AWS_ENDPOINT_URL": _service_url(facts),
        "BUCKET": bucket(dataset.model),
    }
    data = {name: base64.b64encode(value.encode()).decode() for name, value in text.items()}
    key = names.keys(facts.key.namespace, dataset.model.metadata.name)
    await _write(kube, key, dataset.object, facts.key.name, data)
    return True


def _service_url(facts: Facts) -> str:
    assert facts.model is not None
    service = names.s3(facts.key.namespace, facts.key.name)
    return f"http://{service.name}.{service.namespace}.svc:{facts.model.spec.s3.port}"


async def _write(kube: Kube, key: Key, owner: Object, cluster: str, data: Mapping[str, str]) -> None:
    body = names.owned(key, owner, cluster, type="Opaque", data=dict(data))
    await kube.apply(body, manager=FIELD_MANAGER, force=True)
