"""What a Dataset asks of a store, and whose chunk a shared one is. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from forebay_cache.model.errors import ConfigError

NOBODYS = -1
"""Priority below every Dataset's: of chunks that no Dataset lists any more."""
_HIGHEST = 1000


class Standing(IntEnum):
    """How a Dataset is in use: its chunks go in this order."""

    EXPIRED = 0
    """Not read for its TTL."""
    IDLE = 1
    """Not read while others missed as many bytes as the store is large."""
    ACTIVE = 2


@dataclass(frozen=True, slots=True)
class Rules:
    """Sizes in blocks; 0 is no cap, no TTL."""

    policy: str = "s3fifo"
    priority: int = 100
    pin: bool = False
    ttl_s: int = 0
    guarantee: int = 0
    """Blocks that others cannot push out."""
    cap: int = 0

    def __post_init__(self) -> None:
        if not NOBODYS <= self.priority <= _HIGHEST:
            raise ConfigError(f"priority: {self.priority} is not within 0 and {_HIGHEST}")
        if min(self.ttl_s, self.guarantee, self.cap) < 0:
            raise ConfigError(
                f"ttl, guarantee and cap: {self.ttl_s}, {self.guarantee}, {self.cap}; none may be negative"
            )
        if self.cap and self.guarantee > self.cap:
            raise ConfigError(f"guarantee: {self.guarantee} blocks are more than the cap of {self.cap}")


def charged(datasets: Mapping[str, Rules]) -> str:
    """Who pays for a chunk that all of these list: the highest priority; among equals the first by name, so that every
    member says the same."""
    return min(datasets, key=lambda name: (-datasets[name].priority, name))


def is_held(datasets: Mapping[str, Rules]) -> bool:
    """Any pin holds it."""
    return any(rules.pin for rules in datasets.values())


def level(rules: Rules, standing: Standing) -> int:
    """The lowest goes first."""
    if standing is Standing.EXPIRED:
        return 0
    return 2 * (rules.priority - NOBODYS) + standing


TOP_LEVEL = 2 * (_HIGHEST - NOBODYS) + Standing.ACTIVE + 1
"""Above every Dataset's."""


def spare(rules: Rules, standing: Standing, used: int) -> int:
    """Blocks that others may push out; negative while the guarantee is not filled."""
    return used if standing is Standing.EXPIRED else used - rules.guarantee


def over_cap(rules: Rules, used: int, more: int) -> bool:
    return 0 < rules.cap < used + more
