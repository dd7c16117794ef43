"""The agent's metrics: what its workers counted, summed at each scrape."""

from forebay_cache.contract import metrics
from forebay_cache.mount.mounts import Mounts
from forebay_cache.mount.tally import RESULTS
from forebay_cache.telemetry import Telemetry


class Shown:
    """The mounts' numbers in Prometheus's text format."""

    def __init__(self, telemetry: Telemetry, mounts: Mounts) -> None:
        self._telemetry = telemetry
        self._mounts = mounts
        self._seconds = telemetry.time(metrics.MOUNT_SECONDS).of()
        telemetry.show(metrics.MOUNTS, lambda: {(): len(mounts)})
        telemetry.show(metrics.MOUNT_READS, self._results)
        telemetry.show(metrics.MOUNT_READ_BYTES, lambda: {(): mounts.totals().bytes})

    def exposition(self) -> bytes:
        totals = self._mounts.totals()
        self._seconds.counts, self._seconds.total = totals.buckets, totals.seconds
        return self._telemetry.exposition()

    def _results(self) -> dict[tuple[str, ...], float]:
        return {(result,): count for result, count in zip(RESULTS, self._mounts.totals().results, strict=True)}
