"""The account of a store: which chunks are here, what each uses of the disk, what is promised, who goes next.

Flat arrays by row, some 70 bytes a chunk in all. Pure, counts in blocks of 4 KiB; not thread-safe: its store locks.
"""

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from forebay_cache.model.errors import ConfigError
from forebay_cache.model.ids import BLOCK_SIZE, CHUNK_SIZE, ChunkId, SegmentId
from forebay_cache.store.charging import Charging
from forebay_cache.store.index import Index
from forebay_cache.store.layout import FILE_SIZE
from forebay_cache.store.policies import order
from forebay_cache.store.policies.base import Miss, mark_of
from forebay_cache.store.policies.ranks import HELD, LANES, Ranks
from forebay_cache.store.policies.rules import NOBODYS, Rules
from forebay_cache.store.policies.table import POLICIES

COMPLETE, FILLING = 1, 2
"""Bits of a row's state."""
_BATCH = 16
"""Chunks one `reserve` evicts beyond its own need while the store drains: bounds its time to some milliseconds."""
_LOOK = 256
"""Partial chunks among which the one read longest ago is looked for."""
RECHARGED, SWEPT = 256, 4096
"""Rows charged anew, and looked at for their TTL, under one lock: some 0.3 ms, and 1 ms."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a store may use. Eviction starts when use would pass `high_percent` of the capacity and goes on, a few chunks
    with each fill, until it is below `low_percent`; the part above the high mark is for fills under way."""

    capacity_bytes: int
    high_percent: int = 90
    low_percent: int = 80
    policy: str = "lru"
    """Of what no Dataset lists."""
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
    def __init__(self, limits: Limits, now: Callable[[], float]) -> None:
        self.capacity = limits.capacity_bytes // BLOCK_SIZE
        self._high = self.capacity * limits.high_percent // 100
        self._low = self.capacity * limits.low_percent // 100
        self._draining = False
        self._index = Index()
        self._now = now
        self._ranks = Ranks(self.capacity, Rules(limits.policy, NOBODYS))
        self.charging = Charging(self._ranks)
        self._states = bytearray()
        self._slots = array("I")
        self._at_slot = array("I")
        """The row that had each slot last."""
        self._hand = -1
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
        if not state & COMPLETE:
            self._at_slot.extend([0] * (slot + 1 - len(self._at_slot)))
            self._at_slot[slot] = row
        order.added(self._ranks, row, self.charging.of(chunk.segment), mark_of(chunk), int(self._now()))
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

    def admits(self, chunk: ChunkId, share: float, blocks: int) -> bool:
        """Whether the chunk, of so many blocks, should be filled for who misses `share` of it."""
        row = self._index.find(chunk)
        filling = row >= 0 and bool(self._states[row] & FILLING)  # then its room is promised
        lacking = 0 if filling else max(0, blocks - (self._ranks.blocks[row] if row >= 0 else 0))
        miss = Miss(self.group(chunk, row), mark_of(chunk), lacking, share, row)
        room = self._high - self.used - self.promised
        return order.admit(self._ranks, miss, room, int(self._now())) or filling

    def group(self, chunk: ChunkId, row: int) -> int:
        """Whose the chunk is, or would be where `row` is -1."""
        return self._ranks.lane[row] // LANES if row >= 0 else self.charging.of(chunk.segment).group

    def touch(self, chunk: ChunkId, size: int) -> None:
        row = self._index.find(chunk)
        if row >= 0:
            whole = self._ranks.blocks[row] * BLOCK_SIZE if self._states[row] & COMPLETE else CHUNK_SIZE
            order.touched(self._ranks, row, size / (whole or CHUNK_SIZE), int(self._now()))

    def rows(self) -> Iterator[int]:
        """All rows, in no order. Not while the ledger changes."""
        return self._index.in_use()

    def complete_after(self, row: int) -> int:
        """The next row of a complete chunk that nobody writes to, from the first where `row` is -1; -1: there is none."""
        for at in range(row + 1, self._index.rows):
            if self._ranks.is_ranked(at) and self._states[at] & (COMPLETE | FILLING) == COMPLETE:
                return at
        return -1

    def victims(self, is_held: Callable[[int], bool], asker: int | None = None) -> Iterator[int]:
        """Rows that are to go, by policy, for a chunk of group `asker`, or because the store must shrink; not those being
        filled, nor those that are held: what is given goes, now or after the next. Not while the ledger changes, but the given
        row may go."""
        return order.victims(
            self._ranks, asker, lambda row: bool(self._states[row] & FILLING) or is_held(row), int(self._now())
        )

    def oldest_partial(self, is_held: Callable[[int], bool]) -> int:
        """Of the partial chunks that the next few slots belong to, the row of the one read longest ago; -1: none may go. Pinned
        ones, and those being filled, may not."""
        best, hand, slots, seen = -1, self._hand, len(self._at_slot), self._ranks.seen
        for looked in range(1, slots + 1):
            slot = (hand + looked) % slots
            row = self._at_slot[slot]
            if self._may_give_slot(row, slot) and not is_held(row) and (best < 0 or seen[row] < seen[best]):
                best, self._hand = row, slot  # of those read in the same second, the next is another
            if looked >= _LOOK and best >= 0:
                break
        return best

    def _may_give_slot(self, row: int, slot: int) -> bool:
        ranks = self._ranks
        ranked = row < len(ranks.lane) and ranks.is_ranked(row) and ranks.lane[row] % LANES != HELD
        return ranked and not self._states[row] & (COMPLETE | FILLING) and self._slots[row] == slot

    def owed(self, asker: int, blocks: int) -> int:
        """Blocks of its own that a group must give up for `blocks` more."""
        return order.owed(self._ranks, asker, blocks)

    def recharge(self, row: int) -> int:
        """Charges rows from `row` on to whom they belong now. -> the row to go on with; -1: that was the last."""
        stop = min(row + RECHARGED, self._index.rows)
        for at in range(row, stop):
            if self._ranks.is_ranked(at):
                order.moved(self._ranks, at, self.charging.of(SegmentId(self._index.segment(at))))
        if stop < self._index.rows:
            return stop
        self.charging.close()
        return -1

    def expired(self, row: int) -> list[int]:
        """Of the SWEPT rows from `row` on, those past their TTL that nobody fills."""
        found = order.expired(self._ranks, row, row + SWEPT, int(self._now()))
        return [at for at in found if not self._states[at] & FILLING]

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
