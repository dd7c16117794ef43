"""Makes the Secrets that only randomness can make, once: a cluster's certificates, a Dataset's S3 keys."""

import datetime as dt
import logging

from pydantic import SecretStr

from forebay_cache.contract.config import AccessKey
from forebay_operator import names, tls
from forebay_operator.desired.access import keys_secret
from forebay_operator.facts import DatasetFacts, Facts
from forebay_operator.kube.base import Kube
from forebay_operator.members.base import SERVER_NAME
from forebay_operator.model import FIELD_MANAGER, Key, KubeError, Tls

log = logging.getLogger("forebay.mint")
OPERATOR_NAME = "operator.forebay"


def kept(facts: Facts) -> frozenset[Key]:
    """What is not derived from the cluster's spec: minted Secrets and the membership. Never rewritten, never pruned."""
    where = facts.key.namespace, facts.key.name
    made = (names.authority, names.member_tls, names.operator_tls, names.membership)
    return frozenset(name(*where) for name in made)


async def mint(kube: Kube, facts: Facts, now: dt.datetime) -> bool:
    """Makes what is missing -> whether there was anything. A Dataset whose Secret is refused keeps no other from its."""
    made = not (kept(facts) & facts.foreign) and await _mint_certificates(kube, facts, now)
    for dataset in facts.datasets:
        try:
            made = await _mint_keys(kube, facts, dataset) or made
        except KubeError as exc:
            log.warning("keys not made", extra={"dataset": dataset.model.metadata.name, "reason": str(exc)})
    return made


async def _mint_certificates(kube: Kube, facts: Facts, now: dt.datetime) -> bool:
    """Certificates that are whole and agree are left alone, whatever became of their authority: running members have
    them."""
    where = facts.key.namespace, facts.key.name
    wanted = ((names.member_tls(*where), SERVER_NAME, True), (names.operator_tls(*where), OPERATOR_NAME, False))
    there = {key: _read(facts, key) for key, _, _ in wanted}
    if all(there.values()) and len({leaf.ca for leaf in there.values() if leaf}) == 1:
        return False
    authority = facts.authority
    if authority is None:
        authority = tls.mint_authority(facts.key.name, now)
        await _write(kube, facts, names.authority(*where), authority)
    for key, name, server in wanted:
        leaf = there[key]
        if leaf is None or leaf.ca != authority.certificate:
            await _write(kube, facts, key, tls.mint_leaf(authority, name, now, server=server))
    return True


async def _mint_keys(kube: Kube, facts: Facts, dataset: DatasetFacts) -> bool:
    if dataset.keys or dataset.secret_taken or dataset.model.spec.s3.access != "Keys":
        return False
    access_key, secret_key = tls.mint_access_key()
    keys = AccessKey(access_key_id=access_key, secret_access_key=SecretStr(secret_key))
    await kube.apply(names.stamped(keys_secret(facts, dataset, keys)), manager=FIELD_MANAGER, force=True)
    return True


def _read(facts: Facts, key: Key) -> Tls | None:
    secret = facts.children.get(key)
    return tls.read_tls(secret.get("data") or {}) if secret else None


async def _write(kube: Kube, facts: Facts, key: Key, files: Tls) -> None:
    assert facts.object is not None
    body = names.owned(key, facts.object, facts.key.name, type="Opaque", data=tls.secret_data(files))
    await kube.apply(body, manager=FIELD_MANAGER, force=True)
