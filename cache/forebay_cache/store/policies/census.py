"""Finds out by itself when all of a Dataset has been read once more. Pure; not thread-safe.

A *round* lasts until hardly anything that is read is new to it; then everything somebody reads has been read in it. One job
reading shuffled epochs makes a round of one to two epochs. Re-reads say little by themselves: many small files lie in one
chunk, and the ranks of a job may all read the same chunk within seconds. What is new falls silent only at a round's end.
"""

from forebay_cache.store.policies.sketch import Sketch

_FIRST_WINDOW = 64.0
"""Chunks read before the first look: enough to see how many of the reads bring something new."""
_LEAST = 32
"""A later window is so long that, at the best rate, a quarter of what is known would come anew in it, and at least this
many: silence is then no accident, whether one reader or sixty-four in step make the reads."""
_WORST_BEST = 1e-3
"""What the best rate is taken for until there is a better one."""
_FADED = 64
"""The round is over when new chunks are this many times rarer than they were at their best."""


class Census:
    """`round` counts up. The sketch holds the chunks that were missed; those in the store are counted by who has their
    rows."""

    def __init__(self) -> None:
        self.round = 0
        self._missed: Sketch | None = None  # 2 KiB that most groups never need
        self._begin()

    def missed(self, mark: int, share: float) -> None:
        """A read of a chunk that is not here, of `share` of its bytes."""
        if self._missed is None:
            self._missed = Sketch()
        self._missed.add(mark)
        self._read(share)

    def hit(self, share: float, *, new: bool) -> None:
        """A read of a chunk that is here. `new`: its first in this round."""
        self._here += new
        self._read(share)

    def _begin(self) -> None:
        self._volume = self._since = 0.0
        self._here = 0
        self._known, self._best = 0.0, _WORST_BEST
        self._until = _FIRST_WINDOW
        if self._missed is not None:
            self._missed.clear()

    def _read(self, share: float) -> None:
        self._volume += share
        if self._volume >= self._until:
            self._look()

    def _look(self) -> None:
        """The end of a window, and of the round if the window was silent."""
        known = self._here + (self._missed.count() if self._missed is not None else 0.0)
        rate = (known - self._known) / (self._volume - self._since)
        self._best = max(self._best, rate)
        if rate * _FADED <= self._best and self._since:
            self.round += 1
            self._begin()
            return
        self._known, self._since = known, self._volume
        self._until = self._volume + max(_LEAST, known / 4) / self._best
