import pytest

from forebay_operator.cli import output


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KiB"),
        (102400, "100 KiB"),
        (1 << 20, "1.0 MiB"),
        (5 << 40, "5.0 TiB"),
        (2**70, "1024 EiB"),
    ],
)
def test_sizes_have_three_digits_at_most(count: int, text: str) -> None:
    assert output.size(count) == text


@pytest.mark.parametrize(("seconds", "text"), [(-5, "0s"), (90, "90s"), (130, "2m"), (7300, "2h"), (200000, "2d")])
def test_ages_have_one_unit(seconds: int, text: str) -> None:
    assert output.age("1970-01-01T00:01:40Z", 100 + seconds) == text


def test_columns_are_aligned_and_lines_end_without_blanks() -> None:
    rows = [{"name": "a", "long_name": "x"}, {"name": "bcdef", "long_name": ""}]
    assert output.table(rows) == "NAME   LONG NAME\na      x\nbcdef"
