"""Publishes the next epoch of a cluster's membership, and gives members the newest: an epoch exists once the API server has
taken it by compare-and-swap, and members have it within the same look."""

import datetime as dt
import logging

from forebay_cache.contract.membership import Addresses, Membership
from forebay_cache.placement.lookup import Placement
from forebay_operator import names
from forebay_operator.api.v1alpha1 import ADMIN_PORT, PEER_PORT
from forebay_operator.facts import MEMBERSHIP_FILE, Facts
from forebay_operator.kube.base import Kube
from forebay_operator.lifecycle.membership import Seen, next_epoch
from forebay_operator.members.base import Members
from forebay_operator.model import FIELD_MANAGER, KubeConflict, KubeExists, MemberError
from forebay_operator.reconcile.push import client

FOUND_WAIT_S = 120.0
"""How long a new cluster waits for all of its members before it is founded with those that answer."""
log = logging.getLogger("forebay.membership")


async def publish(kube: Kube, members: Members, facts: Facts, now: float) -> int:
    """-> members that had an older epoch, or none, when they were looked at. `now`: wall time."""
    placement = facts.membership or await _recovered(members, facts)
    assert facts.model is not None
    replicas = facts.model.spec.replicas
    wanted = next_epoch(placement, facts.uid, seen(facts), replicas) if placement or _complete(facts, now) else None
    if wanted is None and facts.membership is None and placement is not None:
        wanted = placement.membership  # the API server's copy was lost: put back what members go by
    if wanted is not None:
        if not await _write(kube, facts, wanted):
            return 1  # somebody else did: the next look goes by that
        placement = Placement.of(wanted)
        log.info("membership published", extra={"epoch": wanted.epoch, "members": len(wanted.members)})
    return await _push(members, facts, placement) if placement else 0


def seen(facts: Facts) -> list[Seen]:
    assert facts.model is not None
    port = facts.model.spec.s3.port
    return [
        Seen(
            one.report.member,
            one.pod,
            Addresses(
                data=_at(one.address, port), peer=_at(one.address, PEER_PORT), admin=_at(one.address, ADMIN_PORT)
            ),
            one.report.capacity_bytes,
        )
        for one in facts.members
        if one.report and one.report.cluster_uid == facts.uid
    ]


def _at(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _complete(facts: Facts, now: float) -> bool:
    assert facts.object is not None
    assert facts.model is not None
    made = facts.object["metadata"].get("creationTimestamp")
    waited = now - dt.datetime.fromisoformat(made).timestamp() if made else 0.0
    return len(seen(facts)) >= facts.model.spec.replicas or waited > FOUND_WAIT_S


async def _recovered(members: Members, facts: Facts) -> Placement | None:
    """The newest epoch that a member has, where the API server has none that can be read: epochs are never begun anew."""
    found: Placement | None = None
    for one in facts.members:
        if one.report and one.report.epoch > (found.epoch if found else 0):
            try:
                offered = await client(members, facts, one.address).membership()
            except MemberError as exc:
                log.warning("membership not told", extra={"member": one.pod, "reason": str(exc)})
                continue
            found = Placement.of(offered) if offered and offered.cluster_uid == facts.uid else found
    return found


async def _write(kube: Kube, facts: Facts, wanted: Membership) -> bool:
    """Compare-and-swap against what was observed. False: somebody was faster."""
    assert facts.object is not None
    key = names.membership(facts.key.namespace, facts.key.name)
    body = names.owned(key, facts.object, facts.key.name, data={MEMBERSHIP_FILE: wanted.model_dump_json()})
    there = facts.children.get(key)
    try:
        if there is None:
            await kube.create(body)
        else:
            version = {"resourceVersion": there["metadata"]["resourceVersion"]}
            await kube.apply({**body, "metadata": {**body["metadata"], **version}}, manager=FIELD_MANAGER, force=True)
    except (KubeConflict, KubeExists) as exc:
        log.warning("membership not taken", extra={"epoch": wanted.epoch, "reason": str(exc)})
        return False
    return True


async def _push(members: Members, facts: Facts, placement: Placement) -> int:
    behind = [one for one in facts.members if one.report and one.report.epoch < placement.epoch]
    for member in behind:
        try:
            await client(members, facts, member.address).put_membership(placement.membership)
        except MemberError as exc:
            log.warning("membership not taken", extra={"member": member.pod, "reason": str(exc)})
    return len(behind)
