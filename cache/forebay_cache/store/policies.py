"""Which chunk goes first when room is needed: a table of policies. Pure; not thread-safe.

A policy is three functions over `Ranks`: chunks as doubly linked lanes in flat arrays, 10 bytes a chunk, by row number.
Lanes are what policies differ in: `lru` has one; a policy with a probation queue, a set that is held, or an order by
time uses more of them and the byte of hits.
"""

from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

LANES = 4
_NO_LANE = 255


class Ranks:
    """Lanes of rows, oldest first. The first LANES links are the lanes' ends, so no row is a special case."""

    def __init__(self) -> None:
        ends = range(LANES)
        self._before = array("I", ends)
        self._after = array("I", ends)
        self.lane = bytearray()
        self.hits = bytearray()

    def push(self, row: int, lane: int) -> None:
        """Puts a row that is in no lane at the newest end of one."""
        while len(self.lane) <= row:
            self.lane.append(_NO_LANE)
            self.hits.append(0)
            self._before.append(0)
            self._after.append(0)
        link, newest = row + LANES, self._before[lane]
        self._before[link], self._after[link] = newest, lane
        self._after[newest] = self._before[lane] = link
        self.lane[row] = lane

    def pull(self, row: int) -> None:
        """Takes a row out of its lane."""
        link = row + LANES
        before, after = self._before[link], self._after[link]
        self._after[before], self._before[after] = after, before
        self.lane[row] = _NO_LANE

    def is_ranked(self, row: int) -> bool:
        return self.lane[row] != _NO_LANE

    def oldest(self, lane: int) -> Iterator[int]:
        """Rows of a lane, oldest first. The row that was given last may be pulled; others may not meanwhile."""
        link = self._after[lane]
        while link != lane:
            after = self._after[link]
            yield link - LANES
            link = after


@dataclass(frozen=True, slots=True)
class Policy:
    """`added`: a chunk begins to exist. `touched`: it was read. `victims`: rows in the order in which they should go."""

    added: Callable[[Ranks, int], None]
    touched: Callable[[Ranks, int], None]
    victims: Callable[[Ranks], Iterator[int]]


def _as_newest(ranks: Ranks, row: int) -> None:
    ranks.push(row, 0)


def _to_newest(ranks: Ranks, row: int) -> None:
    ranks.pull(row)
    ranks.push(row, 0)


def _by_age(ranks: Ranks) -> Iterator[int]:
    return ranks.oldest(0)


POLICIES: Mapping[str, Policy] = {
    "lru": Policy(added=_as_newest, touched=_to_newest, victims=_by_age),
}
