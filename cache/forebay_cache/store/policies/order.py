"""What a store does with the policies: lets a chunk in, counts a read, asks who goes. One order of victims comes out of
each Dataset's policy and rules. Pure: `now` in seconds is given; not thread-safe. O(log Datasets) each, but for what the
victims' policy does.

Whose chunk goes for a new one of Dataset D: one of D that is stale; then of whose TTL has passed; then of lower priority,
the idle first; of equal priority idle ones, then whoever has more beyond its guarantee than D, the most first; else D's
own. Never what is pinned, nor within another's guarantee, nor of higher priority unless D is below its own guarantee.
"""

from collections.abc import Iterator
from functools import partial

from forebay_cache.store.policies.base import Charge, IsHeld, Miss, Policy
from forebay_cache.store.policies.ranks import FIRST, HELD, LANES, LEAVING, SECOND, WHOLE_CHUNK, Group, Ranks
from forebay_cache.store.policies.rules import TOP_LEVEL, Rules, Standing, level, over_cap, spare
from forebay_cache.store.policies.table import POLICIES

_SLACK = 2 * WHOLE_CHUNK
"""Blocks by which an equal must have more before it gives: two chunks, so that equals do not take in turns."""
_SPARE_BITS = 42


def admit(ranks: Ranks, miss: Miss, room: int, now: int) -> bool:
    """Whether these bytes should be stored; ask once for each read of what is not here, for it is counted. `room`: blocks
    that are free below the high watermark. Not admitted: read them past the store."""
    group = ranks.group(miss.group)
    _accessed(ranks, group, now)
    ranks.pressure += round(miss.share * WHOLE_CHUNK)
    if miss.row >= 0:
        touched(ranks, miss.row, miss.share, now)
    else:
        _policy(group).missed(group, miss.mark, miss.share)
    if over_cap(group.rules, group.used, miss.blocks):
        return _policy(group).admits(ranks, group)
    if room >= miss.blocks:
        return True
    _settle(ranks, now)
    giver = _giver(ranks, group, spare(group.rules, Standing.ACTIVE, group.used))
    return giver is not group or _policy(group).admits(ranks, group)


def added(ranks: Ranks, row: int, charge: Charge, mark: int | None, now: int) -> None:
    """A row begins to exist, with no blocks yet. `mark`: see Policy."""
    group = ranks.group(charge.group)
    ranks.make(row)
    ranks.seen[row], ranks.blocks[row] = now, 0
    if mark is not None:
        _accessed(ranks, group, now)
    elif now > group.seen:
        group.seen = now
        _wake(ranks, group)
    if charge.pinned:
        ranks.hits[row] = 0
        ranks.push(row, group.number * LANES + HELD)
    else:
        _policy(group).added(ranks, group, row, mark)


def touched(ranks: Ranks, row: int, share: float, now: int) -> None:
    """`share`: the part of the chunk's bytes that was read."""
    group = ranks.group_of(row)
    _accessed(ranks, group, now)
    ranks.seen[row] = now
    if ranks.lane[row] % LANES < HELD:
        _policy(group).touched(ranks, group, row, share)


def resized(ranks: Ranks, row: int, blocks: int) -> None:
    group = ranks.group_of(row)
    group.used += blocks - ranks.blocks[row]
    ranks.blocks[row] = blocks
    _enter(ranks, group)


def removed(ranks: Ranks, row: int, mark: int) -> None:
    group = ranks.group_of(row)
    _policy(group).removed(ranks, group, row, mark)
    ranks.pull(row)
    group.used -= ranks.blocks[row]
    _enter(ranks, group)


def moved(ranks: Ranks, row: int, charge: Charge) -> None:
    """The chunk is now another's, or pinned, or no longer; nothing happens if it is as before."""
    old, pinned = ranks.group_of(row), ranks.lane[row] % LANES == HELD
    if charge == Charge(old.number, pinned):
        return
    blocks, seen = ranks.blocks[row], ranks.seen[row]
    ranks.pull(row)
    old.used -= blocks
    _enter(ranks, old)
    added(ranks, row, charge, None, seen)
    resized(ranks, row, blocks)


def change(ranks: Ranks, number: int, rules: Rules) -> None:
    """New rules for a group. Another policy needs another group: open it, and move the rows a few at a time."""
    group = ranks.group(number)
    if rules.policy != group.rules.policy:
        raise ValueError(f"group {number} has policy {group.rules.policy}, not {rules.policy}")
    group.rules = rules
    _wake(ranks, group)


def owed(ranks: Ranks, number: int, blocks: int) -> int:
    """Blocks of its own that a group must give up for `blocks` more, because of its cap."""
    group = ranks.group(number)
    return max(0, group.used + blocks - group.rules.cap) if group.rules.cap else 0


def victims(ranks: Ranks, asker: int | None, is_held: IsHeld, now: int) -> Iterator[int]:
    """Rows that should go for a chunk of group `asker`, or for none: because the store must shrink. Ends when nothing may
    go. Every row given goes, before the next is asked for or later; nothing else changes meanwhile."""
    if asker is None:
        _settle(ranks, now)
        return _for_none(ranks, _Givers(ranks, is_held))
    group = ranks.group(asker)
    _accessed(ranks, group, now)
    _settle(ranks, now)
    own = _policy(group).replaceable(ranks, group, is_held)
    if over_cap(group.rules, group.used, WHOLE_CHUNK):
        return own
    return _for_group(ranks, group, own, _Givers(ranks, is_held))


def expired(ranks: Ranks, start: int, stop: int, now: int) -> Iterator[int]:
    """Rows [start, stop) that were not read for their Dataset's TTL: a store sweeps over all of them now and then."""
    for row in range(start, min(stop, len(ranks.lane))):
        if ranks.is_ranked(row) and ranks.lane[row] % LANES != HELD:
            ttl = ranks.group_of(row).rules.ttl_s
            if ttl and now - ranks.seen[row] > ttl:
                yield row


def _for_none(ranks: Ranks, givers: "_Givers") -> Iterator[int]:
    """The spare of all; when that is used up, what is guaranteed."""
    while (best := ranks.contest.best()) >= 0:
        row = givers.next(ranks.group(best))
        if row >= 0:
            yield row
    groups = [group for group in ranks.groups if group is not None]
    for group in sorted(groups, key=lambda group: level(group.rules, group.standing)):
        yield from givers.rows(group)


def _for_group(ranks: Ranks, group: Group, own: Iterator[int], givers: "_Givers") -> Iterator[int]:
    have = spare(group.rules, Standing.ACTIVE, group.used)
    while True:
        giver = _giver(ranks, group, have)
        row = next(own, -1) if giver is group else givers.next(giver)
        if row >= 0:
            have += 0 if giver is group else ranks.blocks[row]
            yield row
        elif giver is group:
            return


class _Givers:
    """Groups that give rows to others in one call of `victims`. Their places in the contest follow what was given, whether
    it is gone yet or not; `_settle` puts them right again."""

    def __init__(self, ranks: Ranks, is_held: IsHeld) -> None:
        self._ranks = ranks
        self._is_held = is_held
        self._rows: dict[int, Iterator[int]] = {}
        self._spare: dict[int, int] = {}

    def rows(self, group: Group) -> Iterator[int]:
        """All that it has not given yet."""
        if group.number not in self._rows:
            self._rows[group.number] = _policy(group).victims(self._ranks, group, self._is_held)
            self._spare[group.number] = spare(group.rules, group.standing, group.used)
            self._ranks.disturbed.append(group.number)
        return self._rows[group.number]

    def next(self, group: Group) -> int:
        """The group's next row; -1 if it has none to spare, and then it is out of the contest."""
        rows, left = self.rows(group), self._spare[group.number]
        guarded = group.rules.guarantee and group.standing is not Standing.EXPIRED
        row = next(rows, -1) if left >= WHOLE_CHUNK or not guarded else -1
        left = left - self._ranks.blocks[row] if row >= 0 else 0
        self._spare[group.number] = left
        self._ranks.contest.put(group.number, _key(group, left))
        return row


def _giver(ranks: Ranks, group: Group, have: int) -> Group:
    """Who gives the next row for a chunk of `group`, which has `have` blocks beyond its guarantee."""
    best = ranks.contest.best()
    if best < 0 or best == group.number or _policy(group).is_stale(ranks, group):
        return group
    other = ranks.group(best)
    theirs = level(other.rules, other.standing)
    mine = level(group.rules, Standing.ACTIVE) if have >= 0 else TOP_LEVEL
    more = theirs == mine and ranks.contest.key(best) % (1 << _SPARE_BITS) > have + _SLACK
    return other if theirs < mine or more else group


def _policy(group: Group) -> Policy:
    return POLICIES[group.rules.policy]


def _accessed(ranks: Ranks, group: Group, now: int) -> None:
    group.seen, group.pressure = now, ranks.pressure
    if group.standing is not Standing.ACTIVE:
        _wake(ranks, group)


def _wake(ranks: Ranks, group: Group) -> None:
    group.standing = Standing.ACTIVE
    ranks.idling.arm(group.number, group.pressure + ranks.capacity)
    if group.rules.ttl_s:
        ranks.expiring.arm(group.number, group.seen + group.rules.ttl_s + 1)
    _enter(ranks, group)


def _settle(ranks: Ranks, now: int) -> None:
    """Notes who has become idle or has expired since the last time."""
    for number in ranks.idling.due(ranks.pressure, partial(_idle_at, ranks)):
        group = ranks.group(number)
        group.standing = min(group.standing, Standing.IDLE)
        ranks.disturbed.append(number)
    for number in ranks.expiring.due(now, partial(_expires_at, ranks)):
        ranks.group(number).standing = Standing.EXPIRED
        ranks.disturbed.append(number)
    while ranks.disturbed:
        disturbed = ranks.groups[ranks.disturbed.pop()]
        if disturbed is not None:
            _enter(ranks, disturbed)


def _idle_at(ranks: Ranks, number: int) -> int:
    group = ranks.groups[number]
    return -1 if group is None else group.pressure + ranks.capacity


def _expires_at(ranks: Ranks, number: int) -> int:
    group = ranks.groups[number]
    return -1 if group is None or not group.rules.ttl_s else group.seen + group.rules.ttl_s + 1


def _enter(ranks: Ranks, group: Group) -> None:
    """Puts the group at its place in the contest."""
    base = group.number * LANES
    loose = ranks.counts[base + FIRST] or ranks.counts[base + SECOND] or ranks.counts[base + LEAVING]
    left = spare(group.rules, group.standing, group.used) if loose else 0
    ranks.contest.put(group.number, _key(group, left))


def _key(group: Group, left: int) -> int:
    if left <= 0:
        return 0
    return (TOP_LEVEL - level(group.rules, group.standing) << _SPARE_BITS) + left
