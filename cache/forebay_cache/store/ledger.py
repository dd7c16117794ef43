"""The account of a store: which chunks are here, what each uses of the disk, what is promised, who goes next.

Flat arrays by row, some 70 bytes a chunk in all. Pure, counts in blocks of 4 KiB; not thread-safe: its store locks.
"""

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from forebay_cache.model.errors import ConfigError
from forebay_cache.model.ids import BLOCK_SIZE, CHUNK_SIZE, ChunkId
from forebay_cache.store.index import Index
from forebay_cache.store.layout import FILE_SIZE
from forebay_cache.store.policies import order
from forebay_cache.store.policies.base import Charge, mark_of
from forebay_cache.store.policies.ranks import Ranks
from forebay_cache.store.policies.rules import NOBODYS, Rules
from forebay_cache.store.policies.table import POLICIES

COMPLETE, FILLING = 1, 2
"""Bits of a row's state."""
_BATCH = 16
"""Chunks one `reserve` evicts beyond its own need while the store drains: bounds its time to some milliseconds."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a store may use. Eviction starts when use would pass `high_percent` of the capacity and goes on, a few chunks
    with each fill, until it is below `low_percent`; the part above the high mark is for fills under way."""

    capacity_bytes: int
    high_percent: int = 90
    low_percent: int = 80
    policy: str = "lru"
    open_files: int = 512
    """Idle descriptors kept open."""

    def __post_init__(self) -> None:
        if self.capacity_bytes < 2 * FILE_SIZE:
            raise ConfigError(f"capacity_bytes: {self.capacity_bytes} is less than two chunks ({2 * FILE_SIZE})")
        if not 0 < self.low_percent <= self.high_percent <= 100:
            raise ConfigError(
                f"low_watermark_percent {self.low_percent} and high_watermark_percent {self.high_percent}:"
                " 0 < low <= high <= 100 is needed"
            )
        if self.policy not in POLICIES:
            raise ConfigError(f"eviction: no policy {self.policy!r}; there is {', '.join(POLICIES)}")

    @property
    def slots(self) -> int:
        """Partial chunks at most: as many as whole ones would fit, within 256 (64 KiB of map) and 65,536 (16 MiB)."""
        return min(max(self.capacity_bytes // CHUNK_SIZE, 256), 1 << 16)


class Ledger:
    def __init__(self, limits: Limits) -> None:
        self.capacity = limits.capacity_bytes // BLOCK_SIZE
        self._high = self.capacity * limits.high_percent // 100
        self._low = self.capacity * limits.low_percent // 100
        self._draining = False
        self._index = Index()
        self._ranks = Ranks(self.capacity, Rules(limits.policy, NOBODYS))
        self._states = bytearray()
        self._slots = array("I")
        self.used = 0
        self.promised = 0
        self.completes = 0

    def __len__(self) -> int:
        return len(self._index)

    def find(self, chunk: ChunkId) -> int:
        return self._index.find(chunk)

    def add(self, chunk: ChunkId, state: int, slot: int, blocks: int) -> int:
        """A row for a chunk that has none; it is the newest."""
        row = self._index.add(chunk)
        if row == len(self._states):
            self._states.append(0)
            self._slots.append(0)
        self._states[row], self._slots[row] = state, slot
        self.used += blocks
        self.completes += state & COMPLETE
        order.added(self._ranks, row, Charge(), mark_of(chunk), 0)
        order.resized(self._ranks, row, blocks)
        return row

    def remove(self, row: int) -> int:
        """Forgets the row. -> its blocks, which count as used until `free`."""
        self.completes -= self._states[row] & COMPLETE
        order.removed(self._ranks, row, mark_of(self._index.chunk(row)))
        self._index.remove(row)
        return self._ranks.blocks[row]

    def free(self, blocks: int) -> None:
        self.used -= blocks
        if self.used + self.promised <= self._low:
            self._draining = False

    def resize(self, row: int, blocks: int) -> int:
        """Sets what a row uses. -> by how much it grew."""
        grown = blocks - self._ranks.blocks[row]
        order.resized(self._ranks, row, blocks)
        self.used += grown
        return grown

    def set_state(self, row: int, state: int) -> None:
        self.completes += (state & COMPLETE) - (self._states[row] & COMPLETE)
        self._states[row] = state

    def state(self, row: int) -> int:
        return self._states[row]

    def slot(self, row: int) -> int:
        return self._slots[row]

    def blocks(self, row: int) -> int:
        return self._ranks.blocks[row]

    def chunk(self, row: int) -> ChunkId:
        return self._index.chunk(row)

    def touch(self, chunk: ChunkId) -> None:
        row = self._index.find(chunk)
        if row >= 0:
            order.touched(self._ranks, row, 1.0, 0)

    def rows(self) -> Iterator[int]:
        """All rows, in no order. Not while the ledger changes."""
        return self._index.in_use()

    def complete_after(self, row: int) -> int:
        """The next row of a complete chunk that nobody writes to, from the first where `row` is -1; -1: there is none."""
        for at in range(row + 1, self._index.rows):
            if self._ranks.is_ranked(at) and self._states[at] & (COMPLETE | FILLING) == COMPLETE:
                return at
        return -1

    def victims(self, is_held: Callable[[int], bool]) -> Iterator[int]:
        """Rows that are to go, by policy; not those being filled, nor those that are held: what is given goes, now or after
        the next. Not while the ledger changes, but the given row may go."""
        return order.victims(self._ranks, None, lambda row: bool(self._states[row] & FILLING) or is_held(row), 0)

    def has_room(self, blocks: int) -> bool:
        return self.used + self.promised + blocks <= self._high

    def shortage(self, blocks: int) -> int:
        """Blocks that must be evicted before `blocks` more fit into the capacity at all."""
        return max(0, self.used + self.promised + blocks - self.capacity)

    def excess(self, blocks: int) -> int:
        """Blocks that should be evicted now when `blocks` more are wanted: none until the high watermark is passed, then
        those and one batch, until the low one is reached."""
        total = self.used + self.promised + blocks
        self._draining = total > self._low and (self._draining or total > self._high)
        if not self._draining:
            return 0
        return min(total - self._low, blocks + _BATCH * FILE_SIZE // BLOCK_SIZE)

    def usage(self, row: int, stop: int, segments: frozenset[bytes]) -> tuple[int, int]:
        """(chunks, blocks) of `segments` among rows [row, stop)."""
        chunks = blocks = 0
        for at in range(row, min(stop, self._index.rows)):
            if self._ranks.is_ranked(at) and self._index.segment(at) in segments:
                chunks, blocks = chunks + 1, blocks + self._ranks.blocks[at]
        return chunks, blocks

    @property
    def row_limit(self) -> int:
        """One past the highest row ever in use."""
        return self._index.rows
