"""Weighted rendezvous: each name prefers members in an order of its own, and more capacity is preferred more often.

Source: Thaler and Ravishankar 1998; weights by exponential races: the distance -ln(u) / weight of a uniform u per (member,
name), and the nearest member wins. The logarithm is spelled out in basic operations, because libm's and numpy's
differ in the last bit between machines, and everyone must get the same answer.
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from forebay_cache.contract.membership import MemberEntry
from forebay_cache.model.ids import MemberId

GOLDEN, MIX_1, MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
"""Constants of splitmix64."""
LN_2 = 0.6931471805599453
_MASK = (1 << 64) - 1


def hash_name(name: str) -> int:
    """64 bits; a member's seed, or the point that a name stands for."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")


def distance(seed: int, point: int, weight: int) -> float:
    """How far a member (its seed and weight) is from a point. `slots` has the same for arrays, equal to the last bit."""
    x = (seed + point * GOLDEN) & _MASK
    x = (x ^ x >> 30) * MIX_1 & _MASK
    x = (x ^ x >> 27) * MIX_2 & _MASK
    mantissa, exponent = math.frexp(float(((x ^ x >> 31) >> 11) + 1))
    s = (mantissa - 1.0) / (mantissa + 1.0)
    q = s * s
    log = 2.0 * s * (1.0 + q * (1 / 3 + q * (1 / 5 + q * (1 / 7 + q * (1 / 9)))))
    return ((53.0 - exponent) * LN_2 - log) / weight


def weights(members: Sequence[MemberEntry]) -> list[int]:
    """What each member counts for: its capacity, and nothing while it leaves.

    Where that leaves nobody, those who stay count alike; where all leave, all do: a slot always has an owner.
    """
    staying = [int(member.state != "Leaving") for member in members]
    capacities = [member.capacity_bytes * stays for member, stays in zip(members, staying, strict=True)]
    for candidate in (capacities, staying):
        if any(candidate):
            return candidate
    return [1] * len(members)


@dataclass(frozen=True, slots=True)
class Rendezvous:
    """Members as candidates; those of no weight are none."""

    candidates: tuple[tuple[MemberId, int, int], ...]
    """(id, seed, weight)."""

    @classmethod
    def of(cls, members: Sequence[MemberEntry]) -> Self:
        weighed: Iterable[tuple[MemberEntry, int]] = zip(members, weights(members), strict=True)
        return cls(tuple((MemberId(member.id), hash_name(member.id), w) for member, w in weighed if w))

    def choose(self, name: str, count: int) -> tuple[MemberId, ...]:
        """The `count` nearest members, or all if there are fewer; nearest first."""
        point = hash_name(name)
        ranked = sorted((distance(seed, point, weight), member) for member, seed, weight in self.candidates)
        return tuple(member for _, member in ranked[:count])
