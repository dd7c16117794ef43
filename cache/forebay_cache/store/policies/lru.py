"""What was read longest ago goes first."""

from collections.abc import Iterator

from forebay_cache.store.policies.base import IsHeld, Policy
from forebay_cache.store.policies.ranks import FIRST, LANES, Group, Ranks


def _missed(group: Group, mark: int, share: float) -> None:
    """Nothing is remembered of what is not here."""


def _added(ranks: Ranks, group: Group, row: int, mark: int | None) -> None:
    del mark
    ranks.push(row, group.number * LANES + FIRST)


def _touched(ranks: Ranks, group: Group, row: int, share: float) -> None:
    del share
    ranks.shift(row, group.number * LANES + FIRST)


def _removed(ranks: Ranks, group: Group, row: int, mark: int) -> None:
    """Likewise."""


def _admits(ranks: Ranks, group: Group) -> bool:
    return ranks.counts[group.number * LANES + FIRST] > 0


def _is_stale(ranks: Ranks, group: Group) -> bool:
    del ranks, group
    return False


def _victims(ranks: Ranks, group: Group, is_held: IsHeld) -> Iterator[int]:
    return (row for row in ranks.oldest(group.number * LANES + FIRST) if not is_held(row))


LRU = Policy(_missed, _added, _touched, _removed, _admits, _is_stale, _victims, _victims)
