"""Which series there are: those of the contract, Prometheus's own, those a repository declares, and its recordings. Pure."""

from collections.abc import Iterable, Mapping

from forebay_cache.contract.metrics import METRICS
from forebay_operator.monitoring.lint.base import ANY, TARGET_LABELS, Shape
from forebay_operator.monitoring.render.standards import KnownMetric

Known = Mapping[str, Shape]
ANYTHING = Shape(labels=frozenset({ANY}))
GAUGE, COUNTER = "gauge", "counter"
BY_PROMETHEUS = ("up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_series_added")


def known_series(declared: Iterable[KnownMetric]) -> dict[str, Shape]:
    """By name; histograms as the series they are made of."""
    found = {name: series(GAUGE, ()) for name in BY_PROMETHEUS}
    found |= {"ALERTS": ANYTHING, "ALERTS_FOR_STATE": ANYTHING}
    for metric in METRICS:
        found |= series_of(metric.name, metric.kind, metric.labels)
    for one in declared:
        found |= series_of(one.name, one.type, one.labels)
    return found


def series_of(name: str, kind: str, labels: tuple[str, ...]) -> dict[str, Shape]:
    if kind == "histogram":
        sums = {f"{name}_{part}": series(COUNTER, labels) for part in ("count", "sum")}
        return {**sums, f"{name}_bucket": series(COUNTER, (*labels, "le"))}
    if kind == "summary":
        sums = {f"{name}_{part}": series(COUNTER, labels) for part in ("count", "sum")}
        return {**sums, name: series(GAUGE, (*labels, "quantile"))}
    return {name: series(kind, labels)}


def series(kind: str, labels: Iterable[str]) -> Shape:
    return Shape(labels=TARGET_LABELS | frozenset(labels), counter=kind == COUNTER, gauge=kind == GAUGE)
