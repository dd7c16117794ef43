from tests.operator.monitoring.trees import ALONE, RULES, findings, rules, tree

from forebay_operator.model import Finding


def codes(found: list[Finding]) -> set[tuple[str, int]]:
    return {(one.code, one.line) for one in found}


def test_recordings_know_each_other_in_any_order() -> None:
    found = findings(
        rules(
            "- {record: a:x:y, expr: sum by (pod) (b:x:y)}",
            "- {record: b:x:y, expr: sum by (job) (up)}",
            "- {record: c:x:y, expr: sum by (job) (b:x:y)}",
        )
    )
    assert codes(found) == {("MAC304", 4)}


def test_labels_of_a_recordings_rule_count() -> None:
    good = rules(
        "- {record: a:x:y, expr: sum(up), labels: {zone: a}}", "- {record: b:x:y, expr: sum by (zone) (a:x:y)}"
    )
    assert findings(good) == []


def test_a_recording_of_itself_ends() -> None:
    assert findings(rules("- {record: a:x:y, expr: a:x:y + up}")) == []


def test_a_declared_metric_is_known() -> None:
    one = rules("- {record: a:x:y, expr: sum by (room) (temperature)}")
    assert codes(findings(one)) == {("MAC303", 4)}
    declared = b"metrics: [{name: temperature, type: gauge, labels: [room]}]"
    assert findings({**one, "metrics.yaml": declared}) == []


def test_an_alert_needs_a_condition() -> None:
    always = tree()[RULES].replace(b" > 1000", b"")
    assert ("MAC309", 5) in codes(findings(tree(**{RULES: always})))


def test_a_value_in_a_label_is_another_alert_each_time() -> None:
    loud = tree()[RULES].replace(b"owner: disks", b"owner: '{{ $value }}'")
    assert ("MAC310", 7) in codes(findings(tree(**{RULES: loud})))


def test_a_message_names_rule_metric_and_line() -> None:
    (found,) = findings({**ALONE, RULES: b"groups:\n- name: g\n  rules:\n  - record: a:b:c\n    expr: |\n      upp"})
    said = f"{RULES}:5: MAC303 a:b:c: no metric, recording or entry of metrics.yaml is called upp"
    assert str(found) == said
