"""Metrics and logs of a process. Metrics come from contract/metrics.py alone; a registry of our own, nothing global.

Hot code counts in plain numbers (a Prometheus counter costs 1 us an increment, a plain one 50 ns); they are read when
somebody scrapes: `Telemetry.show(metric, source)`.
"""

import json
import logging
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal, TextIO

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from forebay_cache.contract.metrics import Metric

Labels = tuple[str, ...]
Source = Callable[[], Mapping[Labels, float]]
"""Values by label values, in the order of the metric's labels; {(): value} where it has none. Called from the scrape."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Histogram:
    """Counts of observations by bucket. One thread only."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts by upper bound, as the text format wants them."""
        at, found = 0, []
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self.counts, strict=True):
            at += count
            found.append((bound, float(at)))
        return found


class Histograms:
    """One Histogram for each combination of label values that was met."""

    __slots__ = ("_bounds", "by_labels")

    def __init__(self, metric: Metric) -> None:
        self._bounds = metric.buckets
        self.by_labels: dict[Labels, Histogram] = {}

    def of(self, *labels: str) -> Histogram:
        found = self.by_labels.get(labels)
        if found is None:
            found = self.by_labels[labels] = Histogram(self._bounds)
        return found


class Counts:
    """Plain numbers by label values."""

    __slots__ = ("by_labels",)

    def __init__(self) -> None:
        self.by_labels: dict[Labels, float] = {}

    def add(self, amount: float, *labels: str) -> None:
        self.by_labels[labels] = self.by_labels.get(labels, 0.0) + amount


class Telemetry:
    """The metrics of one process: those that something `show`s, `count`s or `time`s."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._sources: dict[Metric, Source] = {}
        self._histograms: dict[Metric, Histograms] = {}
        self._registry.register(_Collector(self.families))

    def show(self, metric: Metric, source: Source) -> None:
        """Reads a counter or gauge from `source` at each scrape."""
        self._sources[metric] = source

    def count(self, metric: Metric) -> Counts:
        """A counter or gauge kept here."""
        counts = Counts()
        self.show(metric, lambda: counts.by_labels)
        return counts

    def time(self, metric: Metric) -> Histograms:
        return self._histograms.setdefault(metric, Histograms(metric))

    def exposition(self) -> bytes:
        """Everything in Prometheus's text format (CONTENT_TYPE)."""
        return generate_latest(self._registry)

    def families(self) -> Iterator[Family]:
        for metric, source in self._sources.items():
            make = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            family = make(metric.name, metric.help, labels=metric.labels)
            for labels, value in source().items():
                family.add_metric(labels, value)
            yield family
        for metric, histograms in self._histograms.items():
            timed = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, histogram in histograms.by_labels.items():
                timed.add_metric(labels, histogram.buckets(), histogram.total)
            yield timed


class _Collector(Collector):
    def __init__(self, families: Callable[[], Iterable[Family]]) -> None:
        self._families = families

    def collect(self) -> Iterable[Family]:
        return self._families()


_RECORD_FIELDS = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {"message", "asctime", "taskName"}
_SECRET_WORDS = ("secret", "password", "token", "authorization", "signature")


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """What was logged with `extra=`; a value whose name speaks of a secret is starred out."""
    extra = {name: value for name, value in record.__dict__.items() if name not in _RECORD_FIELDS}
    return {
        name: "***" if any(word in name.lower() for word in _SECRET_WORDS) else value for name, value in extra.items()
    }


class JsonFormatter(logging.Formatter):
    """One event, one line: a JSON object for machines."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **fields_of(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """One event, one line: time, level, event, key=value; for people. A traceback follows on its own lines."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%H:%M:%S", time.localtime(record.created))
        fields = "".join(f" {name}={_shown(value)}" for name, value in fields_of(record).items())
        trace = "\n" + self.formatException(record.exc_info) if record.exc_info else ""
        return f"{moment} {record.levelname.lower():7} {record.name}: {_one_line(record.getMessage())}{fields}{trace}"


def configure_logging(
    log_format: Literal["json", "text"], stream: TextIO, level: int = logging.INFO
) -> logging.Handler:
    """Sends every record of the process to `stream`, and nothing else anywhere. -> the handler, to be removed in tests."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    return handler


def _one_line(text: str) -> str:
    return text.replace("\r", "\\r").replace("\n", "\\n")


def _shown(value: object) -> str:
    text = _one_line(str(value))
    return json.dumps(text, ensure_ascii=False) if not text or any(c in text for c in ' ="') else text
