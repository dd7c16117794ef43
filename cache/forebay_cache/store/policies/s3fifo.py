"""Three queues: a small one for newcomers, a main one for what was read again, a ghost one of what left the small one.

Source: Yang, Zhang, Qiu, Yue, Vinayak, "FIFO queues are all you need for cache eviction", SOSP 2023, algorithm 1, with
its sizes: small 10%, main 90%, ghost as many as main. Ours: sizes count rows of the group, which are the cache where it is
the only one; the ghost is one for the store; the work of one eviction is bounded.

A row that was given to go waits in lane LEAVING, because the order has moved on by the time it goes.
"""

from collections.abc import Iterator

from forebay_cache.store.policies.base import IsHeld, Policy
from forebay_cache.store.policies.ranks import FIRST, LANES, LEAVING, SECOND, Group, Ranks

_MOST_HITS = 3
_PROVEN = 2
"""Hits in the small queue that lead to the main one."""
_FROM_SMALL = 4
"""Instead of hits: it leaves from the small queue, so the ghost one shall know it."""
_SECOND_CHANCES = 128
"""Rows that one eviction may spare for their hits; the next then goes in spite of them. Some 0.1 ms."""


def _missed(group: Group, mark: int, share: float) -> None:
    """Only what was here is remembered, by the ghost queue."""


def _added(ranks: Ranks, group: Group, row: int, mark: int | None) -> None:
    base = group.number * LANES
    known = mark is not None and ranks.ghost.take(mark, _main_size(ranks, base))
    ranks.push(row, base + (SECOND if known else FIRST))
    ranks.hits[row] = 0


def _touched(ranks: Ranks, group: Group, row: int, share: float) -> None:
    del share
    if ranks.lane[row] % LANES == LEAVING:
        ranks.hits[row] = 0
        ranks.shift(row, group.number * LANES + SECOND)  # whoever took it to evict it may still do so
    elif ranks.hits[row] < _MOST_HITS:
        ranks.hits[row] += 1


def _removed(ranks: Ranks, group: Group, row: int, mark: int) -> None:
    del group
    if ranks.hits[row] == _FROM_SMALL:
        ranks.ghost.add(mark)


def _admits(ranks: Ranks, group: Group) -> bool:
    base = group.number * LANES
    return ranks.counts[base + FIRST] + ranks.counts[base + SECOND] > 0


def _is_stale(ranks: Ranks, group: Group) -> bool:
    del ranks, group
    return False


def _victims(ranks: Ranks, group: Group, is_held: IsHeld) -> Iterator[int]:
    base = group.number * LANES
    for row in ranks.oldest(base + LEAVING):
        if not is_held(row):
            yield row
    while (row := _next(ranks, base, is_held)) >= 0:
        ranks.hits[row] = _FROM_SMALL if ranks.lane[row] == base + FIRST else 0
        ranks.shift(row, base + LEAVING)
        yield row


def _next(ranks: Ranks, base: int, is_held: IsHeld) -> int:
    """The row that goes next, after those before it have had their second chance; -1 if all are held."""
    chances = _SECOND_CHANCES
    unseen = [ranks.counts[base + FIRST], ranks.counts[base + SECOND]]  # of each queue, before it has come round
    while any(unseen):
        queue = SECOND if not unseen[FIRST] or (unseen[SECOND] and _main_is_due(ranks, base)) else FIRST
        row = ranks.first(base + queue)
        if is_held(row):
            ranks.shift(row, base + queue)
            unseen[queue] -= 1
        elif chances and _is_spared(ranks, base, row):
            chances -= 1
            if queue == FIRST:
                unseen = [unseen[FIRST] - 1, unseen[SECOND] + 1]
        else:
            return row
    return -1


def _main_is_due(ranks: Ranks, base: int) -> bool:
    small, main = ranks.counts[base + FIRST], ranks.counts[base + SECOND]
    return not small or main > _main_size(ranks, base)


def _main_size(ranks: Ranks, base: int) -> int:
    return (ranks.counts[base + FIRST] + ranks.counts[base + SECOND]) * 9 // 10


def _is_spared(ranks: Ranks, base: int, row: int) -> bool:
    """Whether its hits buy it a place at the newest end of the main queue; they are spent by that."""
    small = ranks.lane[row] == base + FIRST
    if ranks.hits[row] < (_PROVEN if small else 1):
        return False
    ranks.hits[row] = 0 if small else ranks.hits[row] - 1
    ranks.shift(row, base + SECOND)
    return True


S3FIFO = Policy(_missed, _added, _touched, _removed, _admits, _is_stale, _victims, _victims)
