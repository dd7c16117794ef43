import pytest

from forebay_operator.model import MonitoringRefused
from forebay_operator.monitoring.render.document import read


def test_values_know_their_lines() -> None:
    node = read("a: 1\nb:\n  - x\n  - {c: true}\n", "f")
    assert node.plain() == {"a": 1, "b": ["x", {"c": True}]}
    assert node.at("b", 1, "c").place == ("f", 4)
    assert node.at("b", 7, "c").place == ("f", 3)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("5m", "5m"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("1.5", 1.5),
        ("7", 7),
        ("true", True),
        ("~", None),
        ("", None),
        (".inf", float("inf")),
    ],
)
def test_a_scalar_is_what_it_looks_like(text: str, value: object) -> None:
    assert read(text, "f").value == value


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\na: 2", 2),
        ("a: &x 1\nb: *x", 1),
        ("a: [1\nb: 2", 2),
        ("a: !!python/object:os.system x", 1),
        ("1: a", 1),
        ("a: 1\n---\nb: 2", 2),
        ("[" * 60 + "]" * 60, 1),
    ],
)
def test_what_hides_its_meaning_is_refused_at_its_line(text: str, line: int) -> None:
    with pytest.raises(MonitoringRefused) as caught:
        read(text, "f")
    assert (caught.value.findings[0].code, caught.value.findings[0].line) == ("MAC205", line)


def test_a_text_with_places_reports_those() -> None:
    with pytest.raises(MonitoringRefused, match=r"t\.j2:9: MAC205"):
        read("a: 1\na: 2", "f", (("t.j2", 5), ("t.j2", 9)))
