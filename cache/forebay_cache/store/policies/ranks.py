"""What the policies know: chunks by row in flat arrays, 20 bytes each, and the Datasets they are charged to.

Pure; not thread-safe. A row lies in one lane of its group; lanes are doubly linked lists within the arrays.
"""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass

from forebay_cache.model.errors import ConfigError
from forebay_cache.store.policies.census import Census
from forebay_cache.store.policies.contest import Alarms, Contest
from forebay_cache.store.policies.ghost import Ghost
from forebay_cache.store.policies.rules import Rules, Standing

GROUPS = 1024
"""Datasets with rules of their own that one store can tell apart."""
LANES = 4
FIRST, SECOND, LEAVING, HELD = range(LANES)
"""FIRST and SECOND are the policy's. LEAVING: given to whoever evicts, and not evicted yet. HELD: pinned."""
_LINKS = GROUPS * LANES
_NO_LANE = 0xFFFF
WHOLE_CHUNK = 2051
"""Blocks of a complete chunk's file."""


@dataclass(slots=True)
class Group:
    """A Dataset in this store: what is charged to it, and what its policy remembers of it."""

    number: int
    rules: Rules
    census: Census
    used: int = 0
    """Blocks of its rows."""
    seen: int = 0
    """Second of its last access."""
    pressure: int = 0
    """`Ranks.pressure` at its last access."""
    standing: Standing = Standing.ACTIVE


class Ranks:
    """The first links are the lanes' ends, so no row is a special case. Group 0 is for what no other group claims."""

    def __init__(self, capacity: int, rules: Rules) -> None:
        """`capacity` in blocks."""
        ends = range(_LINKS)
        self._before = array("I", ends)
        self._after = array("I", ends)
        self.lane = array("H")
        self.hits = bytearray()
        """For the policy: how often it was read, or in which round."""
        self.seen = array("I")
        """Second of the last access."""
        self.blocks = array("H")
        self.counts = array("I", bytes(4 * _LINKS))
        """Rows of each lane."""
        self.capacity = capacity
        self.pressure = 0
        """Blocks that were missed since the start."""
        self.groups: list[Group | None] = []
        self.contest = Contest(GROUPS)
        self.idling, self.expiring = Alarms(), Alarms()
        self.disturbed: list[int] = []
        """Groups whose place in the contest is to be looked at again."""
        self._ghost: Ghost | None = None
        self.open(rules)

    # groups

    def open(self, rules: Rules) -> int:
        """A number for a Dataset. Raises ConfigError when there are too many."""
        number = next((n for n, group in enumerate(self.groups) if group is None), len(self.groups))
        if number == GROUPS:
            raise ConfigError(f"a store can tell {GROUPS} Datasets with cache rules apart, and there is one more")
        group = Group(number, rules, Census(), pressure=self.pressure)
        self.groups[number : number + 1] = [group]
        self.idling.arm(number, group.pressure + self.capacity)
        if rules.ttl_s:
            self.expiring.arm(number, 0)
        return number

    def close(self, number: int) -> None:
        """Forgets a group that no row is charged to any more."""
        if self.rows_of(number):
            raise ValueError(f"group {number} still has rows")
        self.groups[number] = None
        self.contest.put(number, 0)

    def rows_of(self, number: int) -> int:
        """Rows that are charged to a group."""
        return sum(self.counts[number * LANES : (number + 1) * LANES])

    def group(self, number: int) -> Group:
        group = self.groups[number]
        if group is None:
            raise KeyError(number)
        return group

    def group_of(self, row: int) -> Group:
        return self.group(self.lane[row] // LANES)

    @property
    def ghost(self) -> Ghost:
        """As many as would fit beside the chunks that are here; made when first needed."""
        if self._ghost is None:
            self._ghost = Ghost(self.capacity // WHOLE_CHUNK)
        return self._ghost

    # rows

    def make(self, row: int) -> None:
        """Room in the arrays for a row."""
        while len(self.lane) <= row:
            self.lane.append(_NO_LANE)
            self.hits.append(0)
            self.seen.append(0)
            self.blocks.append(0)
            self._before.append(0)
            self._after.append(0)

    def push(self, row: int, lane: int) -> None:
        """Puts a row that is in no lane at the newest end of one. Lane n of group g is g * LANES + n."""
        link, newest = row + _LINKS, self._before[lane]
        self._before[link], self._after[link] = newest, lane
        self._after[newest] = self._before[lane] = link
        self.lane[row] = lane
        self.counts[lane] += 1

    def pull(self, row: int) -> None:
        """Takes a row out of its lane."""
        link = row + _LINKS
        before, after = self._before[link], self._after[link]
        self._after[before], self._before[after] = after, before
        self.counts[self.lane[row]] -= 1
        self.lane[row] = _NO_LANE

    def shift(self, row: int, lane: int) -> None:
        self.pull(row)
        self.push(row, lane)

    def is_ranked(self, row: int) -> bool:
        return self.lane[row] != _NO_LANE

    def first(self, lane: int) -> int:
        """The oldest row of a lane; -1 if it has none."""
        link = self._after[lane]
        return -1 if link == lane else link - _LINKS

    def oldest(self, lane: int) -> Iterator[int]:
        """Rows of a lane, oldest first. The row that was given last may be pulled; others may not meanwhile."""
        link = self._after[lane]
        while link != lane:
            after = self._after[link]
            yield link - _LINKS
            link = after

    def newest(self, lane: int) -> Iterator[int]:
        """Rows of a lane, newest first; likewise."""
        link = self._before[lane]
        while link != lane:
            before = self._before[link]
            yield link - _LINKS
            link = before
