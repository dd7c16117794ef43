"""Quantities and durations mean what the API server takes them for."""

from fractions import Fraction

import pytest

from forebay_operator.api.fields import quantity, seconds, whole_bytes


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("1500m", Fraction(3, 2)),
        ("2k", 2000),
        ("2Ki", 2048),
        ("1.5Gi", 1610612736),
        ("2Ti", 2 << 40),
        ("3E", 3 * 10**18),
        ("3Ei", 3 << 60),
    ],
)
def test_quantities(text: str, value: Fraction) -> None:
    assert quantity(text) == value


def test_bytes_are_rounded_down() -> None:
    assert whole_bytes("1.0001Ki") == 1024


@pytest.mark.parametrize("text", ["", "Gi", "-1", "1e3", "1 Gi", "1GiB", "1.", ".5", "1K", "1Gi\n"])
def test_other_text_is_no_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        quantity(text)


@pytest.mark.parametrize(
    ("text", "value"), [("10s", 10), ("1h30m", 5400), ("1.5m", 90), ("250ms", 0.25), ("2h1s", 7201)]
)
def test_durations(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "5", "s", "5 m", "5d", "1h 5m", "-5m", "5m\n"])
def test_other_text_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        seconds(text)
