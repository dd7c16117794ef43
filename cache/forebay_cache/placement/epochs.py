"""From one membership to the next.

The operator calls `found` once, `advance` for every change of members, and `settle` when the hand-over is done; it makes the
result true by compare-and-swap on the API server. A result that was not taken is dropped: epochs are never reused.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from forebay_cache.contract.membership import NOBODY, SLOTS, MemberEntry, Membership, encode_table, hash_tables
from forebay_cache.model.ids import MemberId
from forebay_cache.placement.lookup import Placement
from forebay_cache.placement.rendezvous import hash_name, weights
from forebay_cache.placement.slots import Indexes, assign


def found(cluster_uid: str, members: Iterable[MemberEntry]) -> Membership:
    """The first epoch of a cluster. Raises ValueError for no members, too many, or one twice."""
    entries = _dated(members, {}, 1)
    owners = _assigned(entries, np.full(SLOTS, len(entries)))
    nobody = np.full(SLOTS, NOBODY)
    return _membership(1, cluster_uid, entries, (owners, nobody))


def advance(current: Placement, members: Iterable[MemberEntry]) -> Membership:
    """The next epoch, with these members and no others; slots move only as the change asks for. Raises ValueError.

    A slot that moves remembers who had it. One that moves again before the hand-over was settled remembers the last
    owner that is still a member, which is all that a miss will ask.
    """
    epoch = current.epoch + 1
    entries = _dated(members, current.members, epoch)
    nobody = len(entries)
    index = {entry.id: number for number, entry in enumerate(entries)}
    renumber = np.full(NOBODY + 1, nobody)
    renumber[: len(current.members)] = [index.get(member, nobody) for member in current.members]
    held, before = renumber[current.owners], renumber[current.previous]
    owners = _assigned(entries, held)
    previous = np.where((owners != held) & (held != nobody), held, before)
    previous[(previous == owners) | (previous == nobody)] = NOBODY
    return _membership(epoch, current.membership.cluster_uid, entries, (owners, previous))


def settle(current: Placement) -> Membership:
    """The next epoch once every move is done, or given up: nobody is asked as a previous owner, who joined serves."""
    serve = {"state": "Serving"}
    members = (
        entry.model_copy(update=serve if entry.state == "Joining" else {}) for entry in current.membership.members
    )
    epoch = current.epoch + 1
    owners, nobody = np.array(current.owners, np.int64), np.full(SLOTS, NOBODY)
    entries = _dated(members, current.members, epoch)
    return _membership(epoch, current.membership.cluster_uid, entries, (owners, nobody))


def _dated(members: Iterable[MemberEntry], before: Mapping[MemberId, MemberEntry], epoch: int) -> list[MemberEntry]:
    """By id, each with the epoch since which it is in its state."""
    dated = []
    for entry in sorted(members, key=lambda entry: entry.id):
        old = before.get(MemberId(entry.id))
        since = old.since_epoch if old and old.state == entry.state else epoch
        dated.append(entry.model_copy(update={"since_epoch": since}))
    return dated


def _assigned(entries: Sequence[MemberEntry], held: Indexes) -> Indexes:
    return assign([hash_name(entry.id) for entry in entries], weights(entries), held)


def _membership(
    epoch: int, cluster_uid: str, entries: Sequence[MemberEntry], tables: tuple[Indexes, Indexes]
) -> Membership:
    owners, previous = (array("H", table.astype(np.uint16).tobytes()) for table in tables)
    return Membership(
        epoch=epoch,
        cluster_uid=cluster_uid,
        members=tuple(entries),
        owners=encode_table(owners),
        previous=encode_table(previous),
        table_hash=hash_tables(owners, previous),
    )
