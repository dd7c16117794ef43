"""What the S3 face counts, in plain numbers; shown through telemetry."""

from collections.abc import Callable

from forebay_cache.contract import metrics
from forebay_cache.telemetry import Histogram, Telemetry


class Tally:
    """One S3 face's counters."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._seconds = telemetry.time(metrics.S3_SECONDS)
        self._by_operation: dict[str, Histogram] = {}
        self._requests: dict[tuple[str, int], int] = {}
        self._sent: dict[str, int] = {}
        self.cut_short = telemetry.count(metrics.S3_CUT_SHORT)
        self.refused = telemetry.count(metrics.S3_REFUSED)
        telemetry.show(metrics.S3_REQUESTS, self._shown_requests)
        telemetry.show(metrics.S3_SENT, lambda: {(operation,): float(sent) for operation, sent in self._sent.items()})
        self._telemetry = telemetry

    def watch(self, connections: Callable[[], int], objects: Callable[[], int], chunks: Callable[[], int]) -> None:
        """Sizes that are read at the scrape."""
        self._telemetry.show(metrics.S3_CONNECTIONS, lambda: {(): connections()})
        self._telemetry.show(metrics.S3_HOT_OBJECTS, lambda: {(): objects()})
        self._telemetry.show(metrics.S3_HOT_CHUNKS, lambda: {(): chunks()})

    def answered(self, operation: str, status: int, sent: int, seconds: float) -> None:
        """Hot: 0.5 us."""
        key = (operation, status)
        if key not in self._requests:
            self._meet(key)
        self._requests[key] += 1
        self._sent[operation] += sent
        self._by_operation[operation].observe(seconds)

    def _meet(self, key: tuple[str, int]) -> None:
        self._requests[key] = 0
        self._sent.setdefault(key[0], 0)
        self._by_operation[key[0]] = self._seconds.of(key[0])

    def _shown_requests(self) -> dict[tuple[str, ...], float]:
        return {(operation, str(status)): float(count) for (operation, status), count in self._requests.items()}
