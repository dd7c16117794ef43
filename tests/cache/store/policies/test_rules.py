from collections.abc import Mapping

import pytest

from forebay_cache.model.errors import ConfigError
from forebay_cache.store.policies.rules import (
    NOBODYS,
    TOP_LEVEL,
    Rules,
    Standing,
    charged,
    is_held,
    level,
    over_cap,
    spare,
)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"priority": 1001}, "priority"),
        ({"priority": -2}, "priority"),
        ({"ttl_s": -1}, "ttl"),
        ({"guarantee": -1}, "guarantee"),
        ({"guarantee": 3, "cap": 2}, "guarantee"),
    ],
)
def test_wrong_rules_are_refused_by_the_fields_name(wrong: Mapping[str, int], field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        Rules(**wrong)  # type: ignore[arg-type]


def test_a_shared_chunk_is_charged_to_the_highest_priority_then_to_the_first_name() -> None:
    rules = {"b": Rules(priority=7), "c": Rules(priority=9), "a": Rules(priority=7)}
    assert charged(rules) == "c"
    del rules["c"]
    assert charged(rules) == "a"


def test_any_pin_holds() -> None:
    assert is_held({"a": Rules(), "b": Rules(priority=0, pin=True)})
    assert not is_held({"a": Rules(), "b": Rules()})


def test_levels_are_by_ttl_then_priority_then_use() -> None:
    low, high = Rules(priority=5), Rules(priority=6)
    levels = [
        level(high, Standing.EXPIRED),
        level(Rules(priority=NOBODYS), Standing.IDLE),
        level(Rules(priority=NOBODYS), Standing.ACTIVE),
        level(low, Standing.IDLE),
        level(low, Standing.ACTIVE),
        level(high, Standing.IDLE),
        level(Rules(priority=1000), Standing.ACTIVE),
        TOP_LEVEL,
    ]
    assert levels == sorted(set(levels))


def test_spare_is_what_is_beyond_the_guarantee_until_it_expires() -> None:
    rules = Rules(guarantee=10)
    assert (spare(rules, Standing.IDLE, 12), spare(rules, Standing.ACTIVE, 3)) == (2, -7)
    assert spare(rules, Standing.EXPIRED, 12) == 12


def test_no_cap_is_never_over() -> None:
    assert not over_cap(Rules(), 10**9, 1)
    assert over_cap(Rules(cap=10), 8, 3)
    assert not over_cap(Rules(cap=10), 8, 2)
