"""Gives members the state of their cluster."""

import logging
from collections.abc import Sequence

from forebay_cache.contract.config import ClusterState
from forebay_operator.api.v1alpha1 import ADMIN_PORT
from forebay_operator.facts import Facts
from forebay_operator.members.base import Member, Members
from forebay_operator.model import MemberError

log = logging.getLogger("forebay.push")


async def push(members: Members, facts: Facts, state: ClusterState) -> int:
    """Members that had an older state when they were looked at; each was given this one, or it is logged why not."""
    behind = [one for one in facts.members if one.report and one.report.state_version < state.version]
    for member in behind:
        try:
            await client(members, facts, member.address).put_state(state)
        except MemberError as exc:
            log.warning("state not taken", extra={"member": member.pod, "reason": str(exc)})
    return len(behind)


def serving(members: Members, facts: Facts, dataset_uid: str) -> Sequence[Member]:
    """Members that answer and know a Dataset."""
    knowing = [m for m in facts.members if m.report and any(one.uid == dataset_uid for one in m.report.datasets)]
    return [client(members, facts, member.address) for member in knowing]


def client(members: Members, facts: Facts, address: str) -> Member:
    """Of a member that has answered: so there is a certificate to call it with."""
    assert facts.operator is not None
    return members.at(address, ADMIN_PORT, facts.operator)
