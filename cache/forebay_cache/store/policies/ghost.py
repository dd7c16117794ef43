"""Chunks that went lately, by fingerprint: 10 bytes each, and no more memory than the capacity asks for.

A fingerprint counts while fewer have come after it than the caller's limit, so the queue needs no links.
Source: Yang, Zhang, Qiu, Yue, Vinayak, "FIFO queues are all you need for cache eviction", SOSP 2023, section 4.2.
"""

from array import array

_WAYS = 8
_PRINT_BITS = 32


class Ghost:
    """A full bucket of 8 forgets its oldest, so a few percent are forgotten early."""

    def __init__(self, entries: int) -> None:
        self._buckets = max(1, -(-entries * 5 // (4 * _WAYS)))
        self._prints = array("I", bytes(4 * _WAYS * self._buckets))  # 0: no entry
        self._born = array("I", bytes(4 * _WAYS * self._buckets))
        self._count = 0

    def add(self, mark: int) -> None:
        first, fingerprint = self._place(mark)
        places = range(first, first + _WAYS)
        self._count += 1
        found = next((at for at in places if self._prints[at] == fingerprint), -1)
        at = found if found >= 0 else min(places, key=self._age_key)
        self._prints[at], self._born[at] = fingerprint, self._count & 0xFFFFFFFF

    def take(self, mark: int, limit: int) -> bool:
        """Whether it is among the last `limit` that came; it is no longer."""
        first, fingerprint = self._place(mark)
        for at in range(first, first + _WAYS):
            if self._prints[at] == fingerprint:
                self._prints[at] = 0
                return self._since(at) < limit
        return False

    def _place(self, mark: int) -> tuple[int, int]:
        return (mark >> _PRINT_BITS) % self._buckets * _WAYS, (mark & 0xFFFFFFFF) or 1

    def _since(self, at: int) -> int:
        return (self._count - self._born[at]) & 0xFFFFFFFF

    def _age_key(self, at: int) -> int:
        return -self._since(at) if self._prints[at] else -(1 << 32)
