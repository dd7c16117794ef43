"""Gives members the state of their cluster."""

import logging
from collections.abc import Sequence

from forebay_cache.contract.config import ClusterState
from forebay_operator.api.v1alpha1 import ADMIN_PORT
from forebay_operator.facts import Facts, MemberFacts
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
    """Members that answer and know a Dataset: those first that have its head, of these the one whose turn its syncs are."""
    heads = {
        member.pod: one.head
        for member in facts.members
        if member.report
        for one in member.report.datasets
        if one.uid == dataset_uid
    }
    syncer = facts.membership.choose_syncer(dataset_uid) if facts.membership else ""

    def last(member: MemberFacts) -> tuple[bool, bool]:
        return heads[member.pod] is None, member.report is None or member.report.member != syncer

    knowing = sorted((member for member in facts.members if member.pod in heads), key=last)
    return [client(members, facts, member.address) for member in knowing]


def client(members: Members, facts: Facts, address: str) -> Member:
    """Of a member that has answered: so there is a certificate to call it with."""
    assert facts.operator is not None
    return members.at(address, ADMIN_PORT, facts.operator)
