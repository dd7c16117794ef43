"""Pure: the next epoch of a cluster's membership, from the one there is and the members that answer."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from forebay_cache.contract.membership import Addresses, MemberEntry, Membership
from forebay_cache.placement.epochs import advance, found
from forebay_cache.placement.lookup import Placement

SAME_CAPACITY = 0.05
"""A capacity that differs by less moves nothing: slots that move are chunks that move."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A member that answers: its store's id, its pod, where it answers, and how much it may hold."""

    id: str
    pod: str
    addresses: Addresses
    capacity_bytes: int


def next_epoch(current: Placement | None, cluster_uid: str, seen: Sequence[Seen], replicas: int) -> Membership | None:
    """What to publish; None: nothing changed. Pods beyond `replicas` are going, and own nothing any more.

    Without a current one this founds the cluster: call it once everyone is there, or is waited for no longer, for who comes
    later makes chunks move. Who does not answer stays a member: it may be back in a minute, and what it owns is read past it
    meanwhile. A member is its store: another store under a pod's name is a joiner, and the store that pod had before is gone.
    """
    members = _once(one for one in seen if _stays(one.pod, replicas))
    if current is None:
        return found(cluster_uid, [_entry(one, "Serving") for one in members.values()]) if members else None
    stores = {one.pod: one.id for one in members.values()}
    kept = [
        _renewed(old, members)
        for old in current.membership.members
        if old.id in members or (stores.get(old.name, old.id) == old.id and _stays(old.name, replicas))
    ]
    known = {entry.id for entry in kept}
    entries = [*kept, *(_entry(one, "Joining") for one in members.values() if one.id not in known)]
    if not entries or sorted(entries, key=lambda entry: entry.id) == list(current.membership.members):
        return None
    return advance(current, entries)


def _stays(pod: str, replicas: int) -> bool:
    """A StatefulSet of so many replicas has the pods from 0 on."""
    ordinal = pod.rpartition("-")[2]
    return not ordinal.isdecimal() or int(ordinal) < replicas


def _once(seen: Iterable[Seen]) -> Mapping[str, Seen]:
    """By id; of a store that was copied only the first pod's counts, or two would own the same chunks."""
    first: dict[str, Seen] = {}
    for one in sorted(seen, key=lambda one: one.pod):
        first.setdefault(one.id, one)
    return first


def _renewed(old: MemberEntry, members: Mapping[str, Seen]) -> MemberEntry:
    one = members.get(old.id)
    if one is None:
        return old
    same = abs(one.capacity_bytes - old.capacity_bytes) <= SAME_CAPACITY * old.capacity_bytes
    capacity = old.capacity_bytes if same else one.capacity_bytes
    return old.model_copy(update={"name": one.pod, "addresses": one.addresses, "capacity_bytes": capacity})


def _entry(one: Seen, state: str) -> MemberEntry:
    return MemberEntry.model_validate(
        {"id": one.id, "name": one.pod, "addresses": one.addresses, "state": state}
        | {"capacity_bytes": one.capacity_bytes}
    )
