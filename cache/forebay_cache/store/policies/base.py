"""What a policy is: functions over `Ranks`; POLICIES in table.py has them by name."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from forebay_cache.model.ids import ChunkId
from forebay_cache.store.policies.ranks import Group, Ranks

IsHeld = Callable[[int], bool]
"""Whether a row cannot go now: it is leased, or being filled."""


@dataclass(frozen=True, slots=True)
class Policy:
    """All but the last two take constant time. `share` is the part of the chunk's bytes that was read.

    `missed`: somebody read a chunk that is not here. `added`: a row begins to exist; the chunk's mark is None when it only
    came from another group. `touched`: it was read. `removed`: it is about to leave its lane.
    `admits`: whether a new chunk of the group is worth more than the first row that `replaceable` gives for it.
    `is_stale`: whether a row is here that nobody reads any more, by all one knows.
    `replaceable`: rows that a new chunk of the same group may replace, in order. `victims`: all of the group's, in the
    order in which they should go because of others. Every row given goes, before the next is asked for or later.
    """

    missed: Callable[[Group, int, float], None]
    added: Callable[[Ranks, Group, int, int | None], None]
    touched: Callable[[Ranks, Group, int, float], None]
    removed: Callable[[Ranks, Group, int, int], None]
    admits: Callable[[Ranks, Group], bool]
    is_stale: Callable[[Ranks, Group], bool]
    replaceable: Callable[[Ranks, Group, IsHeld], Iterator[int]]
    victims: Callable[[Ranks, Group, IsHeld], Iterator[int]]


@dataclass(frozen=True, slots=True)
class Charge:
    """Whose a chunk is: a group's number, and whether a pin holds it."""

    group: int = 0
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class Miss:
    """A read of bytes that are not here. `blocks`: the room to reserve for them. `share`: the part of the chunk that is read.
    `row`: of the partial chunk they belong to."""

    group: int
    mark: int
    blocks: int
    share: float = 1.0
    row: int = -1


def mark_of(chunk: ChunkId) -> int:
    """64 well mixed bits that stand for the chunk. Source of the constants: Steele, Lea, Flood, "Fast splittable
    pseudorandom number generators", OOPSLA 2014 (variant 13 of the finalizer)."""
    mark = int.from_bytes(chunk.segment[:8], "little") + int.from_bytes(chunk.segment[-8:], "little")
    mark = (mark + chunk.number * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    mark = ((mark ^ mark >> 30) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    mark = ((mark ^ mark >> 27) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return mark ^ mark >> 31
