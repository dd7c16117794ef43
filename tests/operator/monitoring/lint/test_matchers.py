import pytest

from forebay_operator.monitoring.lint.matchers import read_matcher


@pytest.mark.parametrize(
    ("text", "labels", "fits"),
    [
        ('a="b"', {"a": "b"}, True),
        ("a=b", {"a": "b"}, True),
        ('a!="b"', {}, True),
        ('a=""', {}, True),
        ('a=~"b|c"', {"a": "c"}, True),
        ('a=~"b"', {"a": "bb"}, False),
        ('a!~"b.*"', {"a": "bb"}, False),
        ('a="say \\"x\\""', {"a": 'say "x"'}, True),
    ],
)
def test_matchers(text: str, labels: dict[str, str], fits: bool) -> None:
    assert read_matcher(text).fits(labels) is fits


@pytest.mark.parametrize(
    "text",
    [
        "a==b",
        "a",
        '="b"',
        'a=~"["',
        'a=~"(a+)+"',
        'a=~".*.*.*.*x"',
        r'a=~"(a)\1"',
        'a=~"(?=x)"',
        'a=~"' + "x" * 600 + '"',
    ],
)
def test_what_is_no_matcher(text: str) -> None:
    with pytest.raises(ValueError, match=r"matcher|regular expression"):
        read_matcher(text)
