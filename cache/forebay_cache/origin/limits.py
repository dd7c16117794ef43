"""Deadlines and bounds of an origin."""

from dataclasses import dataclass, field

from forebay_cache.origin.pace import PacePolicy


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`tries` includes the first one. A throttled call waits at least `throttled_s` before jitter. `budget`: retries that may
    be spent before successes have to earn them, each `earned` of one."""

    tries: int = 5
    first_s: float = 0.1
    most_s: float = 5.0
    throttled_s: float = 0.5
    budget: float = 100.0
    earned: float = 0.1


@dataclass(frozen=True, slots=True)
class OriginLimits:
    """`first_byte_s`: until one try's answer begins. `idle_s`: between two buffers of a body. `total_s`: all tries and waits
    of a call together, and of a body since its last progress; a reader's own pauses do not count. `concurrency`: reads under
    way at once; more wait, at most `waiting` of them, beyond which a read is refused at once."""

    connect_s: float = 5.0
    first_byte_s: float = 20.0
    idle_s: float = 20.0
    total_s: float = 60.0
    concurrency: int = 64
    waiting: int = 4096
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    pace: PacePolicy = field(default_factory=PacePolicy)
