import pytest
from tests.operator.monitoring.trees import said

from forebay_operator.monitoring.lint import promql
from forebay_operator.monitoring.lint.base import Shape
from forebay_operator.monitoring.lint.catalogue import known_series

KNOWN = known_series(())


def shape(text: str) -> Shape:
    return promql.analyse(text, KNOWN.get, 30, (2, 42)).shape


def labels(text: str) -> set[str]:
    return set(shape(text).labels)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("sum by (namespace, origin) (rate(forebay_origin_errors_total[5m]))", {"namespace", "origin"}),
        ("sum(up)", set()),
        ("count_values('v', up)", {"v"}),
        ("sum by (namespace) (up) / on (namespace) group_left (owner) max by (namespace, owner) (forebay_cluster_info)",
         {"namespace", "owner"}),
        ("sum by (namespace, job) (up) == on (namespace) sum by (namespace) (up)", {"namespace"}),
        ("sum by (namespace, job) (up) and on (namespace) sum by (namespace) (up)", {"namespace", "job"}),
        ("sum by (namespace) (up) or sum by (job) (up)", {"namespace", "job"}),
        ("sum by (namespace) (up) > 5", {"namespace"}),
        ("label_replace(sum by (job) (up), 'x', '$1', 'job', '(.*)')", {"job", "x"}),
        ("absent(up{job='x', instance=~'y'})", {"job"}),
        ("histogram_quantile(0.9, sum by (le, job) (rate(forebay_s3_request_seconds_bucket[5m])))", {"job"}),
        ("topk(3, sum by (job) (up))", {"job"}),
        ("vector(1)", set()),
    ],
)  # fmt: skip
def test_labels_of_a_result(text: str, found: set[str]) -> None:
    assert labels(text) == found


def test_without_takes_away() -> None:
    assert "pod" not in labels("sum without (pod) (up)")
    assert "job" in labels("sum without (pod) (up)")
    assert "job" not in labels("up / ignoring (job) up")


@pytest.mark.parametrize(
    "text", ["up == 0", "count(up == 0)", "up and up > 1", "absent(up)", "up unless up > 1", "1 + (up > 0)"]
)
def test_what_is_a_condition(text: str) -> None:
    assert shape(text).condition


@pytest.mark.parametrize("text", ["up", "up == bool 0", "(up > 1) or up", "sum(up)", "1"])
def test_what_is_none(text: str) -> None:
    assert not shape(text).condition


SHARE = "(rate(forebay_origin_errors_total[5m]) / rate(forebay_origin_requests_total[5m]))"


@pytest.mark.parametrize(
    ("text", "ratio"),
    [
        (f"{SHARE} > 0.1", True),
        (f"{SHARE} > 0.1 and rate(forebay_origin_requests_total[5m]) > 1", False),
        (f"{SHARE} > 0.1 and {SHARE} > 0.2", True),
        (f"({SHARE} > 0.1 and up > 1) or {SHARE} > 0.5", True),
        ("rate(forebay_origin_errors_total[5m]) / (rate(forebay_origin_requests_total[5m]) > 1)", False),
        ("rate(forebay_origin_errors_total[5m]) / (rate(forebay_origin_requests_total[5m]) > 0)", True),
        ("forebay_store_used_bytes / forebay_store_capacity_bytes", False),
    ],
)
def test_a_share_is_guarded_by_a_least_amount(text: str, ratio: bool) -> None:
    assert shape(text).ratio is ratio


@pytest.mark.parametrize(
    ("text", "threshold"),
    [
        ("forebay_store_used_bytes > 5", True),
        ("avg by (job) (forebay_store_used_bytes) / 2 < 5", True),
        ("avg_over_time(forebay_store_used_bytes[15m]) > 5", False),
        ("forebay_members_ready == 0", False),
        ("forebay_members_ready > 0", False),
        ("rate(forebay_origin_errors_total[5m]) > 5", False),
        ("count(forebay_store_used_bytes) > 5", False),
    ],
)
def test_a_gauge_hovers_at_its_threshold(text: str, threshold: bool) -> None:
    assert shape(text).threshold is threshold


@pytest.mark.parametrize(
    ("expr", "code"),
    [
        ("sum(rate(x[5m])", "MAC301"),
        ("foo(up)", "MAC301"),
        ("rate(up)", "MAC301"),
        ("(" * 5000 + "up" + ")" * 5000, "MAC301"),
        ("-" * 4000 + "up", "MAC301"),
        ("up[5m]", "MAC302"),
        ("up[1h:5m]", "MAC302"),
        ('"up"', "MAC302"),
        ("forebay_s3_request_total", "MAC303"),
        ('{job="x"}', "MAC303"),
        ('up{clster="x"}', "MAC304"),
        ("sum by (clster) (up)", "MAC304"),
        ("up / on (clster) up", "MAC304"),
        ("up * on (job) group_left (owner) sum by (job) (up)", "MAC304"),
        ("histogram_quantile(0.9, sum by (job) (rate(forebay_s3_request_seconds_bucket[5m])))", "MAC304"),
        ("limitk(3, up)", "MAC305"),
        ("up > 100d", "MAC305"),
        ("sum_over_time(up[300])", "MAC305"),
        ('{"up"}', "MAC305"),
        ("histogram_avg(up)", "MAC305"),
        ("forebay_origin_errors_total > 5", "MAC306"),
        ("sum(forebay_origin_errors_total)", "MAC306"),
        ("delta(forebay_origin_errors_total[5m])", "MAC306"),
        ("avg_over_time(forebay_origin_errors_total[5m])", "MAC306"),
        ("rate(up[5m])", "MAC307"),
        ("rate(forebay_origin_errors_total[1m])", "MAC308"),
    ],
)
def test_what_is_refused(expr: str, code: str) -> None:
    assert code in said(expr)


@pytest.mark.parametrize(
    "expr",
    [
        "absent(forebay_origin_errors_total)",
        "up unless forebay_origin_errors_total",
        "count(forebay_origin_errors_total)",
        'up{namespace="100d"}',
        "up offset 1d",
        "max_over_time(up[1h:5m])",
        "increase(forebay_origin_errors_total[1h])",
        "ALERTS{anything='x'}",
        "resets(forebay_origin_errors_total[1h])",
        "up ^ 2 and on () vector(1)",
    ],
)
def test_what_is_taken(expr: str) -> None:
    assert not set(said(expr)) - {"MAC302"}


def test_rules_of_one_shape_share_a_skeleton() -> None:
    texts = ['up{job="a", pod=~"b"} > 5', r'up{job="b\"", pod=~"c,}"} > 5']
    assert {promql.skeleton(text) for text in texts} == {'up{job="x", pod=~"x"} > 5'}
    assert promql.skeleton('{__name__="up"}') == '{__name__="up"}'
