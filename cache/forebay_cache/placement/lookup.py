"""One epoch, ready for use: who owns a chunk, who did before, who keeps a catalog file, who runs a sync.

A hot file: `owner` and `previous_owner` are called once a chunk and read; two look-ups, 0.2 us of CPython.
"""

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from forebay_cache.contract.membership import (
    FORMAT,
    NOBODY,
    MemberEntry,
    Membership,
    decode_table,
    hash_tables,
    slot_of,
)
from forebay_cache.model.errors import MembershipCorrupt, MembershipRefused
from forebay_cache.model.ids import ChunkId, MemberId
from forebay_cache.placement.rendezvous import Rendezvous

HOLDERS = 3
"""Members that keep each catalog file, where there are as many."""


@dataclass(frozen=True, slots=True)
class Move:
    """Slots whose chunks `source` hands to `target`."""

    source: MemberId
    target: MemberId
    slots: tuple[int, ...]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Placement:
    """A membership whose tables were checked. Nothing writes into the arrays."""

    membership: Membership
    members: Mapping[MemberId, MemberEntry]
    owners: "array[int]"
    previous: "array[int]"
    _ids: tuple[MemberId, ...]
    _holders: Rendezvous
    _syncers: Rendezvous

    @classmethod
    def of(cls, membership: Membership) -> Self:
        """Raises MembershipCorrupt; MembershipRefused for a format that is newer than this program."""
        owners, previous = _tables(membership)
        entries = membership.members
        ids = tuple(MemberId(entry.id) for entry in entries)
        serving = [entry for entry in entries if entry.state == "Serving"] or entries
        members = dict(zip(ids, entries, strict=True))
        return cls(membership, members, owners, previous, ids, Rendezvous.of(entries), Rendezvous.of(serving))

    def __repr__(self) -> str:
        moving = len(self.previous) - self.previous.count(NOBODY)
        return f"<Placement epoch={self.epoch} members={len(self.members)} moving={moving}>"

    @property
    def epoch(self) -> int:
        return self.membership.epoch

    def owner(self, chunk: ChunkId) -> MemberId:
        """The one member that fills and keeps a chunk."""
        return self._ids[self.owners[slot_of(chunk.segment, chunk.number)]]

    def previous_owner(self, chunk: ChunkId) -> MemberId | None:
        """Who may still have a chunk that its owner lacks; None: nobody, ask the origin."""
        index = self.previous[slot_of(chunk.segment, chunk.number)]
        return None if index == NOBODY else self._ids[index]

    def moves(self) -> tuple[Move, ...]:
        """The hand-over that this epoch asks for: what is not done until `epochs.settle`. By source, then target."""
        slots: dict[tuple[int, int], list[int]] = {}
        for slot, source in self._moving():
            slots.setdefault((source, self.owners[slot]), []).append(slot)
        return tuple(Move(self._ids[a], self._ids[b], tuple(slots[a, b])) for a, b in sorted(slots))

    def choose_holders(self, name: str, count: int = HOLDERS) -> tuple[MemberId, ...]:
        """Who keeps a catalog file, nearest first: `count` members, or all that stay if there are fewer."""
        return self._holders.choose(name, count)

    def choose_syncer(self, dataset_uid: str) -> MemberId:
        """Who runs a Dataset's sync: a member that serves, since one that joins lacks the parent commit, if there is one."""
        return self._syncers.choose("sync " + dataset_uid, 1)[0]

    def _moving(self) -> Iterator[tuple[int, int]]:
        return ((slot, source) for slot, source in enumerate(self.previous) if source != NOBODY)


def _tables(membership: Membership) -> tuple["array[int]", "array[int]"]:
    what = f"membership of epoch {membership.epoch}"
    if membership.format != FORMAT:
        raise MembershipRefused(f"{what} has format {membership.format}, this program reads {FORMAT}; update it first")
    try:
        owners, previous = decode_table(membership.owners), decode_table(membership.previous)
    except ValueError as exc:
        raise MembershipCorrupt(f"{what}: {exc}") from exc
    if hash_tables(owners, previous) != membership.table_hash:
        raise MembershipCorrupt(f"{what}: its placement table does not have the hash {membership.table_hash}")
    count = len(membership.members)
    if max(owners) >= count or any(index >= count for index in set(previous) - {NOBODY}):
        raise MembershipCorrupt(f"{what}: its placement table names more than its {count} members")
    return owners, previous
