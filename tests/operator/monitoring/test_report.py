import json
from xml.etree import ElementTree as ET

from tests.operator.monitoring.trees import tree, verdict

from forebay_operator.model import Finding
from forebay_operator.monitoring.report import junit, sarif, text
from forebay_operator.monitoring.unit.promtool import Result

FINDINGS = [Finding("a.j2", 3, "MAC303", "m"), Finding("b", 0, "MAC003", "n"), Finding("a.j2", 9, "MAC303", "o")]


def test_text_is_a_line_each() -> None:
    assert text(FINDINGS) == "a.j2:3: MAC303 m\nb: MAC003 n\na.j2:9: MAC303 o\n"


def test_sarif_names_rule_file_and_line() -> None:
    (run,) = json.loads(sarif(FINDINGS, "1.2"))["runs"]
    driver = run["tool"]["driver"]
    assert [one["id"] for one in driver["rules"]] == ["MAC003", "MAC303"]
    assert [driver["rules"][one["ruleIndex"]]["id"] for one in run["results"]] == ["MAC303", "MAC003", "MAC303"]
    places = [one["locations"][0]["physicalLocation"] for one in run["results"]]
    assert places[0] == {"artifactLocation": {"uri": "a.j2"}, "region": {"startLine": 3}}
    assert "region" not in places[1]


def test_junit_has_a_case_for_each_alert_and_for_a_file_that_fails_whole() -> None:
    (suite,) = verdict(tree()).suites
    said = "  FAILED:\n    alertname: ForebayDiskFull, time: 30m,\n  exp:[\x1b]"
    root = ET.fromstring(
        junit([Result(suite, passed=False, output=said), Result(suite, passed=False, output="no file")])
    )
    first, second = root.iter("testsuite")
    assert [(one.get("name"), one.find("failure") is not None) for one in first] == [("ForebayDiskFull", True)]
    assert [(one.get("name"), one.find("failure") is not None) for one in second] == [
        ("ForebayDiskFull", False),
        ("the file", True),
    ]
