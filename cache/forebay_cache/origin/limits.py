"""Deadlines and bounds of an origin."""

from dataclasses import dataclass, field

from forebay_cache.origin.retry import RetryPolicy


@dataclass(frozen=True, slots=True)
class OriginLimits:
    """`first_byte_s`: until an answer begins. `idle_s`: between two buffers of a body. `concurrency`: requests under way
    at once; more wait."""

    connect_s: float = 5.0
    first_byte_s: float = 20.0
    idle_s: float = 20.0
    concurrency: int = 64
    retry: RetryPolicy = field(default_factory=RetryPolicy)
