"""What the operators of one process did and wait for; shown through telemetry."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from forebay_cache.contract import metrics
from forebay_cache.telemetry import Telemetry
from forebay_operator.model import Key, Kind
from forebay_operator.monitoring.shown import Shown, show


class Loop(Protocol):
    """What is read at the scrape; `reconcile.loop.Operator` is one."""

    @property
    def queued(self) -> int: ...

    @property
    def overdue_s(self) -> float: ...

    @property
    def silent_s(self) -> float: ...

    @property
    def silence(self) -> Mapping[Kind, float]: ...


class Tally:
    """`now` is monotonic. One event loop only; several operators may share it (one for each namespace)."""

    def __init__(self, telemetry: Telemetry, now: Callable[[], float]) -> None:
        self._now = now
        self._looks = telemetry.count(metrics.OPERATOR_LOOKS)
        self._seconds = telemetry.time(metrics.OPERATOR_LOOK_SECONDS)
        self._writes = telemetry.count(metrics.OPERATOR_WRITES)
        self._loops: list[Loop] = []
        self._clusters: dict[Key, Shown] = {}
        show(telemetry, self._clusters.values)
        telemetry.show(metrics.OPERATOR_QUEUED, lambda: {(): float(sum(loop.queued for loop in self._loops))})
        telemetry.show(metrics.OPERATOR_OVERDUE, lambda: {(): max((loop.overdue_s for loop in self._loops), default=0)})
        telemetry.show(metrics.OPERATOR_SILENT, lambda: {(): max((loop.silent_s for loop in self._loops), default=0)})
        telemetry.show(metrics.OPERATOR_WATCH_SILENT, self._silence)

    @contextmanager
    def running(self, loop: Loop) -> Iterator[None]:
        """Shows `loop` meanwhile."""
        self._loops.append(loop)
        try:
            yield
        finally:
            self._loops.remove(loop)

    @contextmanager
    def look(self, kind: Kind) -> Iterator[None]:
        """Counts and times a look at an object; one that raises has failed."""
        began, result = self._now(), "failed"
        try:
            yield
            result = "done"
        finally:
            self._looks.add(1, kind.kind, result)
            self._seconds.of(kind.kind).observe(self._now() - began)

    def saw(self, cluster: Key, found: Shown | None) -> None:
        """What a look found of a cluster; None: there is none that should serve."""
        if found is None:
            self._clusters.pop(cluster, None)
        else:
            self._clusters[cluster] = found

    def wrote(self, verb: str, kind: Kind, result: str) -> None:
        self._writes.add(1, verb, kind.kind, result)

    def _silence(self) -> Mapping[tuple[str, ...], float]:
        found: dict[tuple[str, ...], float] = {}
        for loop in self._loops:
            for kind, silent_s in loop.silence.items():
                found[kind.kind,] = max(silent_s, found.get((kind.kind,), 0.0))
        return found
