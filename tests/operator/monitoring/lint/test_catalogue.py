from forebay_cache.contract.metrics import METRICS
from forebay_operator.monitoring.lint.catalogue import known_series
from forebay_operator.monitoring.render.standards import KnownMetric


def test_every_metric_of_the_contract_is_known() -> None:
    known = known_series(())
    for metric in METRICS:
        name = f"{metric.name}_bucket" if metric.kind == "histogram" else metric.name
        assert known[name].labels >= set(metric.labels)
        assert known[name].counter is (metric.kind != "gauge")


def test_a_repository_adds_its_own() -> None:
    known = known_series([KnownMetric(name="x", type="summary", labels=("a",))])
    assert "quantile" in known["x"].labels
    assert known["x_count"].counter
