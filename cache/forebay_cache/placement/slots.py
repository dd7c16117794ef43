"""Who owns each of the 65,536 slots: every member its share, each slot near its member, and few slots moved.

A table follows from the one before it. Every member ends within one slot of its share, well within the load cap of 1.05, and
no slot moves that need not for this. (Plain rendezvous moves as few, but is off by 12%, one sigma, at 1,000 members; a cap on
top of it alone makes moves cascade.) Which slots move is for rendezvous to say, so a member that comes back gets back most
of what it had.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from forebay_cache.contract.membership import SLOTS
from forebay_cache.placement.rendezvous import GOLDEN, LN_2, MIX_1, MIX_2

Indexes = NDArray[np.int64]
Lengths = NDArray[np.float64]
_BLOCK = 1 << 16
"""Distances computed at once: half a megabyte an array, so that they stay in the processor's cache."""


def assign(seeds: Sequence[int], weights: Sequence[int], held: Indexes) -> Indexes:
    """The owner of each slot, as an index of `seeds`. `held`: who has it now; len(seeds) for nobody.

    In rounds: each slot that may move asks the nearest member that has room; members that have room take those which
    gain the most, members that have too much give those. A round moves at least the slot that gains the most of all.
    """
    nobody, owners = len(seeds), held.copy()
    counts = np.bincount(held, minlength=nobody + 1)
    wanted = np.array([*targets(weights, counts.tolist()), 0])
    room, surplus = np.maximum(wanted - counts, 0), np.maximum(counts - wanted, 0)
    near = Distances(seeds, weights)
    while room.any():
        slots = np.flatnonzero(surplus[owners])
        takers, gains = near.nearest(slots, np.flatnonzero(room), owners)
        best = np.lexsort((slots, -gains))
        best = best[_rank(takers[best]) < room[takers[best]]]
        givers = owners[slots[best]]
        best = best[_rank(givers) < surplus[givers]]
        surplus -= np.bincount(owners[slots[best]], minlength=nobody + 1)
        room -= np.bincount(takers[best], minlength=nobody + 1)
        owners[slots[best]] = takers[best]
    return owners


def targets(weights: Sequence[int], held: Sequence[int]) -> list[int]:
    """Slots each member should have: its share, rounded so that the sum is right and the fewest slots move."""
    total = sum(weights)
    down = [SLOTS * weight // total for weight in weights]
    left = [SLOTS * weight % total for weight in weights]

    def first_up(member: int) -> tuple[bool, bool, int]:
        return left[member] == 0, held[member] <= down[member], -left[member]

    for member in sorted(range(len(down)), key=first_up)[: SLOTS - sum(down)]:
        down[member] += 1
    return down


class Distances:
    """`rendezvous.distance` of slots and members, for arrays; equal to the last bit."""

    def __init__(self, seeds: Sequence[int], weights: Sequence[int]) -> None:
        self._seeds = np.array([*seeds, 0], np.uint64)
        self._weights = np.array([*weights, 0], np.float64)

    def nearest(self, slots: Indexes, members: Indexes, owners: Indexes) -> tuple[Indexes, Lengths]:
        """The nearest of `members` for each slot, and how much nearer it is than the slot's owner (0 away if it has none
        that stays)."""
        found, far = np.empty(len(slots), np.int64), np.empty(len(slots))
        step = max(1, _BLOCK // len(members))
        for start in range(0, len(slots), step):
            block = slice(start, start + step)
            distances = self.between(slots[block, None], members[None, :])
            column = distances.argmin(axis=1)
            found[block], far[block] = members[column], distances[np.arange(len(column)), column]
        stays = self._weights[owners[slots]] > 0
        far[stays] -= self.between(slots[stays], owners[slots[stays]])
        return found, -far

    def between(self, slots: Indexes, members: Indexes) -> Lengths:
        x = self._seeds[members] + slots.astype(np.uint64) * np.uint64(GOLDEN)
        x = (x ^ x >> np.uint64(30)) * np.uint64(MIX_1)
        x = (x ^ x >> np.uint64(27)) * np.uint64(MIX_2)
        x ^= x >> np.uint64(31)
        mantissa, exponent = np.frexp(((x >> np.uint64(11)) + np.uint64(1)).astype(np.float64))
        s = (mantissa - 1.0) / (mantissa + 1.0)
        q = s * s
        log = 2.0 * s * (1.0 + q * (1 / 3 + q * (1 / 5 + q * (1 / 7 + q * (1 / 9)))))
        distances: Lengths = ((53.0 - exponent) * LN_2 - log) / self._weights[members]
        return distances


def _rank(groups: Indexes) -> Indexes:
    """Place of each element among those of its group, counted from 0."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    ranks = np.empty(len(groups), np.int64)
    ranks[order] = np.arange(len(groups)) - np.searchsorted(ordered, ordered)
    return ranks
