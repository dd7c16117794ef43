"""Never replaces within an epoch: of a Dataset read in shuffled epochs, what is here is hit once an epoch, so a cache of
c of its bytes hits c. A new chunk comes in while there is room, or in place of one that was not read in a whole round
(census.py): of an older commit, of files nobody reads any more, of a job that stopped.

Source: Mohan, Phanishayee, Raniwala, Chidambaram, "Analyzing and mitigating data stalls in DNN training", PVLDB 14(5),
2021, section 4.1 (there: fill once, never replace). Rounds are ours.

The one lane is in the order of the rounds in which rows were added or last read, so the stale ones are at its oldest end.
"""

from collections.abc import Iterator

from forebay_cache.store.policies.base import IsHeld, Policy
from forebay_cache.store.policies.ranks import FIRST, LANES, Group, Ranks

_ROUND, _UNREAD = 0x7F, 0x80
"""In place of hits: the round, and whether the row was only added in it. Bytes that were prefetched, or were here at the
start, are new to a round when they are read; so are, once more, those that came by a miss, which makes a first round longer."""
_STALE = 2
"""Rounds since the last read: the one in which it was read was not whole for it, the next one was."""


def _missed(group: Group, mark: int, share: float) -> None:
    group.census.missed(mark, share)


def _added(ranks: Ranks, group: Group, row: int, mark: int | None) -> None:
    del mark
    ranks.push(row, group.number * LANES + FIRST)
    ranks.hits[row] = group.census.round & _ROUND | _UNREAD


def _touched(ranks: Ranks, group: Group, row: int, share: float) -> None:
    census, known = group.census, ranks.hits[row]
    now = census.round & _ROUND
    if known & _ROUND != now:
        ranks.shift(row, group.number * LANES + FIRST)
    ranks.hits[row] = now
    census.hit(share, new=known != now)


def _removed(ranks: Ranks, group: Group, row: int, mark: int) -> None:
    """Nothing: if it is read again, it is missed."""


def _row_is_stale(ranks: Ranks, group: Group, row: int) -> bool:
    return (group.census.round - ranks.hits[row]) & _ROUND >= _STALE


def _is_stale(ranks: Ranks, group: Group) -> bool:
    row = ranks.first(group.number * LANES + FIRST)
    return row >= 0 and _row_is_stale(ranks, group, row)


def _stale(ranks: Ranks, group: Group, is_held: IsHeld) -> Iterator[int]:
    for row in ranks.oldest(group.number * LANES + FIRST):
        if not _row_is_stale(ranks, group, row):
            return
        if not is_held(row):
            yield row


def _victims(ranks: Ranks, group: Group, is_held: IsHeld) -> Iterator[int]:
    """Stale ones, then what was read last: its next read is the furthest away."""
    yield from _stale(ranks, group, is_held)
    for row in ranks.newest(group.number * LANES + FIRST):
        if _row_is_stale(ranks, group, row):
            return
        if not is_held(row):
            yield row


EPOCH = Policy(_missed, _added, _touched, _removed, _is_stale, _is_stale, _stale, _victims)
