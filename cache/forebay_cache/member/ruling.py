"""Tells the store what each Dataset may have of it, and whose each segment is; and sweeps out what is past its time.

A Dataset pays for the segments of every commit it names. Shares are by placement: a member keeps its part of a guarantee.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor

from forebay_cache.catalog.base import Catalog
from forebay_cache.contract.config import CacheRules, DatasetState
from forebay_cache.member.registry import Snapshot
from forebay_cache.model.errors import CatalogCorrupt, ForebayError, NotFound, StoreError
from forebay_cache.model.ids import BLOCK_SIZE, CommitId, MemberId, SegmentId
from forebay_cache.placement.lookup import Placement
from forebay_cache.store.base import NOBODY, Payer, Store
from forebay_cache.store.policies.rules import Rules, charged, is_held
from forebay_cache.store.policies.table import POLICIES

log = logging.getLogger("forebay.member")
LOOK_S = 1.0
"""Between two looks at whether something changed: a look is a comparison of pointers."""
SWEEP_S = 60.0
AGAIN_S = 60.0
"""After the store or the catalog failed."""
Listed = Mapping[str, frozenset[CommitId]]
"""Of each Dataset, by UID, those commits whose files are here."""


def rules_of(asked: CacheRules, share: float) -> Rules:
    """What a member that holds `share` of the cluster's chunks makes of a Dataset's rules. Pure."""
    part = share / BLOCK_SIZE
    cap = max(1, math.ceil(asked.max_bytes * part)) if asked.max_bytes else 0
    guarantee = int(asked.guaranteed_bytes * part)
    return Rules(
        policy=asked.policy.lower() if asked.policy.lower() in POLICIES else "epoch",
        priority=asked.priority,
        pin=asked.pin,
        ttl_s=asked.idle_ttl_s,
        guarantee=min(guarantee, cap or guarantee),
        cap=cap,
    )


def share_of(placement: Placement | None, member: MemberId) -> float:
    """The part of all chunks that a member owns; all of them where it is alone. Pure; 0.1 ms."""
    if placement is None:
        return 1.0
    index = next((n for n, entry in enumerate(placement.membership.members) if entry.id == member), -1)
    return placement.owners.count(index) / len(placement.owners)


def payers(listed: Mapping[str, Iterable[SegmentId]], rules: Mapping[str, Rules]) -> Mapping[SegmentId, Payer]:
    """Whose each segment is; `listed`: what each Dataset lists, by UID. Pure. Some 200 bytes a segment."""
    whose: dict[SegmentId, tuple[str, ...]] = {}
    joined: dict[tuple[tuple[str, ...], str], tuple[str, ...]] = {}
    for uid, segments in listed.items():
        for segment in segments:
            before = whose.get(segment, ())
            if uid not in before:
                whose[segment] = joined.setdefault((before, uid), (*before, uid))
    paying = {uids: _payer({uid: rules[uid] for uid in uids}) for uids in set(whose.values())}
    return {segment: paying[uids] for segment, uids in whose.items()}


def _payer(datasets: Mapping[str, Rules]) -> Payer:
    return Payer(charged(datasets), is_held(datasets))


class Ruling:
    """`news` is asked again and again: what it says holds in the store seconds later. `run` goes on until cancelled."""

    def __init__(
        self, store: Store, catalog: Catalog, pool: Executor, news: Callable[[], tuple[Snapshot, Placement | None]]
    ) -> None:
        self._store, self._catalog, self._pool, self._news = store, catalog, pool, news
        self.version = -1
        """Of the state whose rules the store goes by."""
        self._heard: tuple[Snapshot, Placement | None] | None = None
        self._rules: Mapping[str, Rules] = {}
        self._listed: Listed = {}

    async def run(self) -> None:
        """Looks for news each second, sweeps each minute."""
        swept = asyncio.get_running_loop().time()
        while True:
            try:
                await self.rule()
                if asyncio.get_running_loop().time() - swept >= SWEEP_S:
                    swept = asyncio.get_running_loop().time()
                    await self.sweep()
                await asyncio.sleep(LOOK_S)
            except ForebayError as exc:
                log.warning("rules of Datasets not applied, or room not made", extra={"reason": str(exc)})
                await asyncio.sleep(AGAIN_S)

    async def rule(self) -> bool:
        """Tells the store what is new -> whether anything was."""
        heard = snapshot, placement = self._news()
        if self._heard and snapshot is self._heard[0] and placement is self._heard[1]:
            return False
        share = share_of(placement, self._store.member)
        rules = {uid: rules_of(one.state.cache, share) for uid, one in snapshot.by_uid.items()}
        listed = await asyncio.to_thread(self._found, snapshot)
        changed = rules != self._rules or listed != self._listed
        if changed:
            whose = await asyncio.to_thread(self._whose, listed, rules)
            left = self._store.govern(rules, lambda segment: whose.get(segment, NOBODY))
            if left:
                log.warning("too many Datasets for this store to tell apart", extra={"left_out": len(left)})
            await self._each(self._store.recharge)
        self.version = snapshot.version
        self._heard, self._rules, self._listed = heard, rules, listed
        return changed

    async def sweep(self) -> None:
        """Raises StoreError."""
        await self._each(self._store.sweep)

    async def _each(self, step: Callable[[int], int]) -> None:
        """Slice by slice, so that others get the store's lock in between."""
        cursor, loop = -1, asyncio.get_running_loop()
        while (cursor := await loop.run_in_executor(self._pool, step, cursor)) >= 0:
            pass

    def _found(self, snapshot: Snapshot) -> Listed:
        return {uid: frozenset(self._here(one.state)) for uid, one in snapshot.by_uid.items()}

    def _here(self, state: DatasetState) -> Iterable[CommitId]:
        for commit in {CommitId(name) for name in (state.head, state.latest, *state.retained) if name}:
            try:
                self._catalog.commit(commit)
            except (NotFound, CatalogCorrupt, StoreError):
                continue  # looked for again when the state, or the head's files, are new
            yield commit

    def _whose(self, listed: Listed, rules: Mapping[str, Rules]) -> Mapping[SegmentId, Payer]:
        return payers({uid: self._segments(commits) for uid, commits in listed.items()}, rules)

    def _segments(self, commits: Iterable[CommitId]) -> Iterable[SegmentId]:
        for commit in commits:
            yield from self._catalog.commit(commit).segments()
