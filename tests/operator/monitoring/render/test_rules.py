import pytest

from forebay_operator.monitoring.render.document import read
from forebay_operator.monitoring.render.rules import RuleFile, read_rules


def of(text: str) -> tuple[RuleFile, list[str]]:
    file, findings = read_rules("x.yaml", text, read(text, "x.j2"))
    return file, [f"{one.line} {one.message}" for one in findings]


def test_rules_know_their_lines() -> None:
    file, wrong = of("groups:\n- name: g\n  rules:\n  - record: a:b:c\n    expr: up\n    labels: {x: y}\n")
    (rule,) = file.groups[0].rules
    assert not wrong
    assert (rule.name, rule.expr, rule.labels, rule.place("expr")) == ("a:b:c", "up", {"x": "y"}, ("x.j2", 5))
    assert file.plain == [{"name": "g", "rules": [{"record": "a:b:c", "expr": "up", "labels": {"x": "y"}}]}]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("{alert: A, record: b, expr: up}", "either `alert` or `record`"),
        ("{expr: up}", "either `alert` or `record`"),
        ("{alert: A}", "`expr` has to be a text"),
        ("{alert: A, expr: up, severty: page}", "nobody reads `severty`"),
        ("{alert: A, expr: up, for: soon}", "`for`: 'soon' is not a duration"),
        ("{record: a, expr: up, for: 5m}", "a recording has no `for`"),
        ("{alert: A, expr: up, labels: [a]}", "expected a mapping of names to texts"),
        ("{alert: A, expr: up, labels: {a: [b]}}", "`a` has to be a text"),
        ("text", "expected a mapping with"),
    ],
)
def test_what_a_rule_may_not_be(rule: str, said: str) -> None:
    _, wrong = of(f"groups:\n- name: g\n  rules:\n  - {rule}\n")
    assert wrong
    assert wrong[0].startswith("4 ")
    assert said in wrong[0]


def test_files_of_another_shape_are_said() -> None:
    assert of("groups: 5")[1] == ["1 expected a list"]
    assert "nobody reads `group`" in of("group: []")[1][0]
