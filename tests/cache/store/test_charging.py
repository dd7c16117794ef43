from forebay_cache.model.ids import SegmentId
from forebay_cache.store.base import NOBODY, Payer
from forebay_cache.store.charging import Charging
from forebay_cache.store.policies import order
from forebay_cache.store.policies.base import Charge
from forebay_cache.store.policies.ranks import Ranks
from forebay_cache.store.policies.rules import Rules

SEGMENT = SegmentId(bytes(32))


def test_another_policy_is_another_group_and_the_old_one_goes_when_it_is_empty() -> None:
    ranks = Ranks(1 << 20, Rules("lru"))
    charging = Charging(ranks)
    assert charging.of(SEGMENT) == Charge(0)
    charging.govern({"d": Rules("lru")}, lambda _: Payer("d", pinned=True))
    old = charging.of(SEGMENT)
    assert old == Charge(1, pinned=True)
    order.added(ranks, 0, old, 1, 0)
    charging.govern({"d": Rules("epoch")}, lambda _: Payer("d"))
    assert charging.of(SEGMENT) == Charge(2)
    charging.close()
    assert ranks.group(1), "a row is still charged to it"
    order.moved(ranks, 0, charging.of(SEGMENT))
    charging.close()
    assert ranks.groups[1] is None
    assert charging.usage() == {"d": (1, 0)}


def test_the_same_rules_again_wake_nobody() -> None:
    ranks = Ranks(100, Rules("lru"))
    charging = Charging(ranks)
    charging.govern({"d": Rules(), "e": Rules()}, lambda _: NOBODY)
    ranks.pressure = 1000
    list(order.victims(ranks, None, lambda _: False, 0))
    idle = ranks.group(1).standing
    charging.govern({"d": Rules(), "e": Rules(priority=7)}, lambda _: NOBODY)
    assert ranks.group(1).standing == idle < ranks.group(2).standing
    assert ranks.group(2).rules.priority == 7
