"""A cache that is only its account: what the policies make of a stream of reads, without a byte."""

from collections.abc import Iterable

from forebay_cache.store.policies import order
from forebay_cache.store.policies.base import Charge, Miss
from forebay_cache.store.policies.ranks import WHOLE_CHUNK, Ranks
from forebay_cache.store.policies.rules import NOBODYS, Rules

MASK = (1 << 64) - 1


def mark(chunk: int) -> int:
    """As well mixed as `mark_of`, and cheaper: a multiplication by an odd number, and its halves swapped."""
    mixed = ((chunk + 1) * 0x9E3779B97F4A7C15) & MASK
    mixed = ((mixed ^ mixed >> 32) * 0xD6E8FEB86659FD93) & MASK
    return mixed ^ mixed >> 32


class Simulation:
    """Chunks are numbers, all of one size; `room` chunks fit. A chunk that is let in is there at once and whole."""

    def __init__(self, room: int, rules: Rules | str = "lru") -> None:
        self.ranks = Ranks(room * WHOLE_CHUNK, Rules(rules, NOBODYS) if isinstance(rules, str) else rules)
        self.room = room
        self.rows: dict[int, int] = {}
        self.chunks: dict[int, int] = {}
        self.now = 0
        self._free: list[int] = []
        self.hits = self.reads = 0

    def read(self, chunk: int, share: float = 1.0, charge: Charge = Charge()) -> bool:
        """-> whether it was a hit."""
        self.reads += 1
        row = self.rows.get(chunk, -1)
        if row >= 0:
            order.touched(self.ranks, row, share, self.now)
            self.hits += 1
            return True
        miss = Miss(charge.group, mark(chunk), WHOLE_CHUNK, share)
        if order.admit(self.ranks, miss, (self.room - len(self.rows)) * WHOLE_CHUNK, self.now):
            self.put(chunk, charge)
        return False

    def run(self, chunks: Iterable[int], share: float = 1.0, charge: Charge = Charge()) -> float:
        """-> the hit ratio of these reads."""
        hits, reads = self.hits, self.reads
        for chunk in chunks:
            self.read(chunk, share, charge)
        return (self.hits - hits) / (self.reads - reads)

    def put(self, chunk: int, charge: Charge = Charge()) -> None:
        """Stores a chunk if the policies find room for it."""
        if not self.make_room(charge.group):
            return
        row = self._free.pop() if self._free else len(self.rows)
        self.rows[chunk], self.chunks[row] = row, chunk
        order.added(self.ranks, row, charge, mark(chunk), self.now)
        order.resized(self.ranks, row, WHOLE_CHUNK)

    def make_room(self, group: int) -> bool:
        goal = 1 - min(1, self.room - len(self.rows)) or bool(order.owed(self.ranks, group, WHOLE_CHUNK))
        victims = order.victims(self.ranks, group, lambda _: False, self.now)
        for _ in range(goal):
            if (row := next(victims, -1)) < 0:
                return False
            self.drop(row)
        return True

    def resize(self, room: int) -> None:
        """The store shrinks, or grows."""
        self.room, self.ranks.capacity = room, room * WHOLE_CHUNK
        victims = order.victims(self.ranks, None, lambda _: False, self.now)
        while len(self.rows) > room:
            self.drop(next(victims))

    def drop(self, row: int) -> None:
        chunk = self.chunks.pop(row)
        del self.rows[chunk]
        order.removed(self.ranks, row, mark(chunk))
        self._free.append(row)

    def held(self, group: int) -> int:
        """Chunks charged to a group."""
        return self.ranks.group(group).used // WHOLE_CHUNK
