"""Members and placements that tests make up."""

import uuid
from collections.abc import Iterable
from typing import Literal

from forebay_cache.contract.membership import Addresses, MemberEntry
from forebay_cache.placement.epochs import advance, found
from forebay_cache.placement.lookup import Placement

CLUSTER = "5b2a0d6e-0000-4000-8000-000000000001"
CAPACITY = 4 << 40


def entry(
    number: int, capacity_bytes: int = CAPACITY, state: Literal["Joining", "Serving", "Leaving"] = "Serving"
) -> MemberEntry:
    """Member `number`: always the same UUID, in no order."""
    return MemberEntry(
        id=str(uuid.uuid5(uuid.NAMESPACE_OID, f"member {number}")),
        name=f"cache-{number}",
        addresses=Addresses(data=f"cache-{number}.cache:7450"),
        capacity_bytes=capacity_bytes,
        state=state,
    )


def placement(members: Iterable[MemberEntry]) -> Placement:
    return Placement.of(found(CLUSTER, members))


def after(current: Placement, members: Iterable[MemberEntry]) -> Placement:
    return Placement.of(advance(current, members))
