"""Pure: which packed segments of a commit are worth merging.

A merge costs the bytes it moves (copied within the stores, else fetched again) and the leaves that name them, so each has to
pay for itself:
- a segment of which at least half is dead, and at least a chunk: moving the rest frees as much as it moves;
- small ones, the smallest first, as long as all together are GROWTH times the largest of them. So a segment grows by that
  factor with every merge, and no byte is moved more than log4(64 MiB / 4 KiB) = 7 times; a big one is never moved for a small
  one. What is left over grows by a third at least from each to the next: some thirty segments, however many syncs there were.
Freshly packed segments are never half dead: a file that does not fit leaves less behind it than it takes with the next.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from forebay_cache.model.ids import CHUNK_SIZE, SegmentId

SMALL = 64 << 20
"""Bytes of a segment that is left alone while it lives."""
GROWTH = 4


@dataclass(frozen=True, slots=True)
class Weight:
    """Bytes of a packed segment, and of its files that a commit still has, both in whole blocks."""

    segment: SegmentId
    size: int
    live: int

    @property
    def dying(self) -> bool:
        return self.size - self.live >= max(self.live, CHUNK_SIZE)

    @property
    def small(self) -> bool:
        return self.size < SMALL and not self.dying


def chosen(weights: Iterable[Weight]) -> frozenset[SegmentId]:
    """Those to be merged with each other; empty: it is not worth it."""
    found = list(weights)
    dying = [one for one in found if one.dying]
    small = sorted((one for one in found if one.small), key=_lightest_first)
    moved, taken = sum(one.live for one in dying), 0
    for count, one in enumerate(small, 1):
        moved += one.live
        if moved >= GROWTH * one.live:
            taken = count
    return frozenset(one.segment for one in (*dying, *small[:taken]))


def _lightest_first(weight: Weight) -> tuple[int, SegmentId]:
    return weight.live, weight.segment
