"""How far a prefetch is, how fast it goes, and when it will be done. Pure."""

from collections.abc import Callable
from dataclasses import dataclass, field

from forebay_cache.contract.prefetch import FAILURES_SHOWN, Failure, PrefetchReport

WINDOW_S = 10.0
Failures = dict[bytes, str]
"""Why each file failed; bounded by the files of one pass, and new in each."""


@dataclass(slots=True)
class Progress:
    """Counts of one prefetch. `now` is monotonic."""

    now: Callable[[], float]
    files: int = 0
    bytes: int = 0
    files_done: int = 0
    bytes_done: int = 0
    fetched: int = 0
    failures: Failures = field(default_factory=dict)
    _since: float = 0.0
    _before: int = 0
    _rate: float = 0.0

    def begin_pass(self) -> None:
        self.files_done = self.bytes_done = 0
        self.failures.clear()
        self._since, self._before = self.now(), self.fetched

    def came(self, size: int) -> None:
        """Bytes that were fetched."""
        self.fetched += size
        passed = self.now() - self._since
        if passed >= WINDOW_S:
            self._rate = (self.fetched - self._before) / passed
            self._since, self._before = self.now(), self.fetched

    @property
    def rate(self) -> float:
        """Bytes a second fetched lately; of the first window while there is no other."""
        passed = self.now() - self._since
        return self._rate or ((self.fetched - self._before) / passed if passed > 0 else 0.0)

    @property
    def eta_s(self) -> float | None:
        rate = self.rate
        return (self.bytes - self.bytes_done) / rate if rate > 0 else None

    def on(self, report: PrefetchReport) -> PrefetchReport:
        """The report with these counts."""
        shown = list(self.failures.items())[:FAILURES_SHOWN]
        return report.model_copy(
            update={
                **{name: getattr(self, name) for name in ("files", "bytes", "files_done", "bytes_done", "fetched")},
                "rate": self.rate if report.state == "Running" else 0.0,
                "eta_s": self.eta_s if report.state == "Running" else None,
                "failed": len(self.failures),
                "failures": tuple(Failure(path=key.decode(errors="replace"), message=why) for key, why in shown),
            }
        )
