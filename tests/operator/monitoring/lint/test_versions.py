import pytest

from forebay_operator.monitoring.lint.versions import fault, texts_beyond


def test_a_newer_prometheus_knows_more() -> None:
    assert list(texts_beyond("up > 100d", (3, 1))) == []
    assert fault("histogram_avg", (2, 51)) == ""
    assert "came with 2.51" in fault("histogram_avg", (2, 50))


def test_a_newer_prometheus_may_know_less() -> None:
    assert fault("holt_winters", (2, 55)) == ""
    assert "left with 3.0" in fault("holt_winters", (3, 0))


@pytest.mark.parametrize(
    "text", ["x[5m]", "x offset 5m", "x[1h:5m] offset 1d", 'x{a="5m"}', "x5m", "a:rate5m", "x @ 100"]
)
def test_durations_where_they_belong_are_no_numbers(text: str) -> None:
    assert list(texts_beyond(text, (2, 42))) == []
