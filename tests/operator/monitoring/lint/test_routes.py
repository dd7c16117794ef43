import pytest
from tests.operator.monitoring.trees import findings, tree

ROUTES = """\
route:
  receiver: nobody
  group_by: [alertname]
  routes:
    - matchers: ['severity="page"']
      receiver: pages
      group_by: [origin]
      repeat_interval: 4h
    - matchers: ['severity="ticket"']
      receiver: tickets
      group_by: [owner, alertname]
      repeat_interval: 24h
inhibit_rules:
  - source_matchers: ['severity="page"']
    target_matchers: ['severity="ticket"']
    equal: [namespace]
receivers: [{name: nobody}, {name: pages}, {name: tickets}]
"""
CASES = "- labels: {severity: page}\n  receivers: [pages]\n- labels: {severity: ticket}\n  receivers: [tickets]\n"


def found(*changes: tuple[str, str], cases: str = CASES) -> list[str]:
    text = ROUTES
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    files = tree(**{"templates/routes/a.yaml.j2": text, "tests/routes.yaml": cases})
    return [f"{one.code}:{one.line}" for one in findings(files)]


def test_good_routes_are_good() -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("group_by: [owner, alertname]", "group_by: [owner]", "MAC601:11"),
        ("group_by: [owner, alertname]", "group_by: [owner, alertname, '...']", "MAC601:11"),
        ("repeat_interval: 24h", "repeat_interval: 4h", "MAC602:12"),
        ("repeat_interval: 24h", "repeat_interval: daily", "MAC602:12"),
        ("repeat_interval: 24h", "repeat_interval: 24h\n      group_wait: 1s", "MAC602:13"),
        ("repeat_interval: 24h", "repeat_interval: 24h\n      group_interval: 10s", "MAC602:13"),
        ("receiver: tickets", "receiver: tickts", "MAC603:10"),
        ("{name: nobody}, ", "", "MAC603:2"),
        ("""['severity="ticket"']\n      receiver""", "['severity==ticket']\n      receiver", "MAC604:9"),
        (
            """['severity="ticket"']\n      receiver""",
            """['severity="ticket"', 'team=""']\n      receiver""",
            "MAC604:9",
        ),
        ("equal: [namespace]", "equal: [zone]", "MAC604:16"),
        ("inhibit_rules:", "inhibit_rule:", "MAC206:14"),
    ],
)
def test_each_standard(old: str, new: str, code: str) -> None:
    assert code in found((old, new))


def test_a_ticket_that_no_route_takes_is_said() -> None:
    assert "MAC605:5" in found(("""['severity="ticket"']\n      receiver""", """['severity="x"']\n      receiver"""))


def test_a_routing_test_fails_at_its_line() -> None:
    assert found(cases=CASES.replace("[tickets]", "[pages]")) == ["MAC606:4"]
    assert found(cases="- labels: {a: b}\n") == ["MAC606:1"]
    assert found(cases="labels: {a: b}\n") == ["MAC606:1"]
    assert found(cases="- a: [\n") == ["MAC205:2"]
