"""Which of two memberships a process goes by. A higher epoch wins, from whomever it comes: an epoch exists only once."""

from forebay_cache.contract.membership import Membership
from forebay_cache.model.errors import MembershipConflict, MembershipForeign, MembershipRefused
from forebay_cache.placement.lookup import Placement


def adopt(current: Placement | None, offered: Membership, cluster_uid: str) -> Placement:
    """The placement to go by from now on: `current` itself if what is offered is older or the same.

    Raises: MembershipForeign, MembershipConflict, MembershipCorrupt, MembershipRefused (a newer format). `current` holds.
    """
    if offered.cluster_uid != cluster_uid:
        raise MembershipForeign(f"a membership of cluster {offered.cluster_uid} was offered to cluster {cluster_uid}")
    if current is None or offered.epoch > current.epoch:
        return Placement.of(offered)
    if offered.epoch == current.epoch and not _same(current.membership, offered):
        raise MembershipConflict(
            f"two memberships of epoch {offered.epoch}: at hand tables {current.membership.table_hash[:12]} and"
            f" {len(current.members)} members, offered {offered.table_hash[:12]} and {len(offered.members)};"
            " the one that the API server has must be published again with a higher epoch"
        )
    return current


def read(text: str, cluster_uid: str) -> Placement | None:
    """A membership as it was kept; None: nobody can go by it."""
    try:
        return adopt(None, Membership.model_validate_json(text), cluster_uid)
    except (ValueError, MembershipRefused):  # pydantic's is a ValueError
        return None


def _same(a: Membership, b: Membership) -> bool:
    # Not the packed tables: two builds of zlib may pack one table differently.
    return (a.format, a.members, a.table_hash) == (b.format, b.members, b.table_hash)
