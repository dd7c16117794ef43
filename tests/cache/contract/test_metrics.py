import re

from forebay_cache.contract.metrics import METRICS


def test_names_are_unique_and_well_formed() -> None:
    names = [metric.name for metric in METRICS]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"forebay_[a-z0-9_]+", name) for name in names)


def test_counters_end_in_total_and_nothing_else_does() -> None:
    assert all(metric.name.endswith("_total") == (metric.kind == "counter") for metric in METRICS)


def test_the_unit_stands_in_the_name() -> None:
    assert all(not metric.unit or metric.unit in metric.name.split("_") for metric in METRICS)


def test_only_histograms_have_buckets_and_they_rise() -> None:
    for metric in METRICS:
        assert bool(metric.buckets) == (metric.kind == "histogram")
        assert list(metric.buckets) == sorted(set(metric.buckets))


def test_help_is_a_sentence_and_labels_are_bounded_words() -> None:
    bounded = {
        "version",
        "process",
        "operation",
        "status",
        "reason",
        "origin",
        "state",
        "dataset",
        "result",
        "kind",
        "verb",
    }
    bounded |= {"namespace", "cache_cluster", "owner", "tier"}
    for metric in METRICS:
        assert metric.help.endswith(".")
        assert set(metric.labels) <= bounded
