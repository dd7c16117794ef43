"""Whose each chunk is: Datasets by UID, and the groups that stand for them in the policies. Pure; not thread-safe."""

from collections.abc import Callable, Collection, Mapping

from forebay_cache.model.errors import ConfigError
from forebay_cache.model.ids import SegmentId
from forebay_cache.store.base import NOBODY, Payer
from forebay_cache.store.policies import order
from forebay_cache.store.policies.base import Charge
from forebay_cache.store.policies.ranks import Ranks
from forebay_cache.store.policies.rules import Rules

_NOBODYS = 0
"""The group of what no Dataset lists, and of Datasets that found no group."""


class Charging:
    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._groups: dict[str, int] = {}
        self._leaving: list[int] = []
        self._payer: Callable[[SegmentId], Payer] = lambda _: NOBODY

    def govern(self, rules: Mapping[str, Rules], payer: Callable[[SegmentId], Payer]) -> Collection[str]:
        """New chunks are charged like this from now on; each row that is here has to be moved, then `close` what is left.
        -> Datasets that found no group: theirs count as nobody's."""
        for uid in [uid for uid, number in self._groups.items() if not self._stays(number, rules.get(uid))]:
            self._leaving.append(self._groups.pop(uid))
        self._payer = payer
        return [uid for uid, one in rules.items() if not self._rule(uid, one)]

    def of(self, segment: SegmentId) -> Charge:
        payer = self._payer(segment)
        return Charge(self._groups.get(payer.dataset, _NOBODYS), payer.pinned)

    def close(self) -> None:
        """Forgets the groups that nobody is charged to any more."""
        left = [number for number in self._leaving if self._ranks.rows_of(number)]
        for number in set(self._leaving).difference(left):
            self._ranks.close(number)
        self._leaving = left

    def usage(self) -> Mapping[str, tuple[int, int]]:
        """(chunks, blocks) by UID."""
        ranks = self._ranks
        return {uid: (ranks.rows_of(number), ranks.group(number).used) for uid, number in self._groups.items()}

    def _stays(self, number: int, rules: Rules | None) -> bool:
        """Another policy needs another group."""
        return rules is not None and rules.policy == self._ranks.group(number).rules.policy

    def _rule(self, uid: str, rules: Rules) -> bool:
        number = self._groups.get(uid)
        if number is not None:
            if rules != self._ranks.group(number).rules:  # else an idle Dataset would count as one that is read
                order.change(self._ranks, number, rules)
            return True
        try:
            self._groups[uid] = self._ranks.open(rules)
        except ConfigError:
            return False
        return True
