import pytest

from forebay_operator.monitoring.render.durations import seconds


@pytest.mark.parametrize(("text", "length"), [("0", 0), ("30s", 30), ("1h30m", 5400), ("250ms", 0.25), ("1w", 604800)])
def test_durations(text: str, length: float) -> None:
    assert seconds(text) == length


@pytest.mark.parametrize("text", ["", "5", "5 m", "m", "1.5h", "-5m", "5M"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        seconds(text)
