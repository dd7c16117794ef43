"""Parts the origin no longer has as a commit knew them: remembered for a moment, so that a reader who tries a broken file
again and again does not become a storm at the origin (a 1 MiB read through a mount is retried as 258 small ones)."""

from collections.abc import Callable

from forebay_cache.model.errors import PartGone
from forebay_cache.model.ids import SegmentId
from forebay_cache.read.jobs import Job

REMEMBER_S = 5.0
LIMIT = 10_000


class GoneParts:
    """Bounded; the oldest is forgotten. After REMEMBER_S the origin is asked again: an object may be restored."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._parts: dict[tuple[SegmentId, int], tuple[float, str]] = {}

    def note(self, job: Job, error: PartGone) -> None:
        if len(self._parts) >= LIMIT:
            del self._parts[next(iter(self._parts))]
        self._parts[(job.segment, job.part.index)] = (self._now() + REMEMBER_S, str(error))

    def check(self, job: Job) -> None:
        """Raises PartGone for a part noted within REMEMBER_S."""
        until, message = self._parts.get((job.segment, job.part.index), (0.0, ""))
        if self._now() < until:
            raise PartGone(message)
        self._parts.pop((job.segment, job.part.index), None)
