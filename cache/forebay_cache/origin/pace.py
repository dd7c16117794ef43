"""How many requests a second an origin is asked, once it has said that it wants fewer. No I/O; the clock is passed in.

An origin that never says so is not held back. One that does is asked at CUT of the rate that it refused, and from there a
little more each second, until it refuses again or the rate passes what nobody refuses. Several members that each do this
come to share what the origin gives: additive increase, multiplicative decrease (Chiu and Jain, 1989).
"""

from collections.abc import Callable
from dataclasses import dataclass

WINDOW_S = 1.0
PREFIXES = 256
"""Prefixes of a bucket that have a pace of their own; the others share one."""


@dataclass(frozen=True, slots=True)
class PacePolicy:
    """Rates are requests a second. `most`: from here on nothing is held back: what S3 grants any prefix. `gain`: by how much
    the rate grows in a second; from nothing to `most` in some five minutes, because S3 takes minutes to split a prefix.
    `apart`: seconds for a cut to show before the next one. `burst`: seconds without requests that may be made up for at
    once."""

    most: float = 5500.0
    least: float = 2.0
    cut: float = 0.7
    gain: float = 20.0
    apart: float = 1.0
    burst: float = 0.1


class Pace:
    """The requests of all calls below one prefix."""

    def __init__(self, policy: PacePolicy, now: Callable[[], float]) -> None:
        self._policy, self._now = policy, now
        self._cut_at = now()
        self._rate: float | None = None
        """At the last cut; None: not held back."""
        self._free_at = 0.0
        self._window_at, self._sent, self._before = self._cut_at, 0, 0.0

    @property
    def rate(self) -> float | None:
        """Requests a second that may be sent now; None: any."""
        if self._rate is None:
            return None
        rate = self._rate + self._policy.gain * (self._now() - self._cut_at)
        return rate if rate < self._policy.most else None

    def wait_s(self, most_s: float) -> float | None:
        """Takes the next place: seconds until it may be used. None, and no place is taken, when that is beyond `most_s`."""
        rate = self.rate
        if rate is None:
            self._rate = None
            self._count()
            return 0.0
        now = self._now()
        place = max(self._free_at, now - self._policy.burst)
        wait = max(0.0, place - now)
        if wait > most_s:
            return None
        self._free_at = place + 1.0 / rate
        self._count()
        return wait

    def refused(self, sent_at: float) -> None:
        """The origin wants fewer. A request sent before the last cut, or just after it, says nothing of the rate since."""
        if self._rate is not None and sent_at < self._cut_at + self._policy.apart:
            return
        now, seen = self._now(), self._seen()
        rate = min(seen, self.rate or seen)
        self._rate, self._cut_at = max(self._policy.least, rate * self._policy.cut), now
        self._free_at = max(self._free_at, now)

    def _count(self) -> None:
        now = self._now()
        if now - self._window_at >= WINDOW_S:
            self._before = self._sent / (now - self._window_at)
            self._window_at, self._sent = now, 0
        self._sent += 1

    def _seen(self) -> float:
        """Requests a second lately: of the window under way, or of the one before where that was busier."""
        return max(self._before, self._sent / WINDOW_S)


class Paces:
    """The paces of one bucket, by the first component of keys: a store splits its load by prefix, and one that is hot must
    not slow the others. `held`: the lowest rate of them, in requests a second; None where none is held back."""

    def __init__(self, policy: PacePolicy, now: Callable[[], float]) -> None:
        self._policy, self._now = policy, now
        self._paces: dict[bytes, Pace] = {}

    def of(self, key: bytes) -> Pace:
        prefix = key[: key.find(b"/") + 1]
        if prefix not in self._paces:
            if len(self._paces) >= PREFIXES:
                prefix = b""
            self._paces.setdefault(prefix, Pace(self._policy, self._now))
        return self._paces[prefix]

    @property
    def held(self) -> float | None:
        return min((rate for pace in self._paces.values() if (rate := pace.rate) is not None), default=None)
