import pytest
from tests.operator.monitoring.trees import ALERT, RULES, findings, rules, tree


def codes(*changes: tuple[str, str]) -> set[str]:
    text = ALERT
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    found = {one.code for one in findings(tree(**{RULES: text}))}
    return found - {"MAC501", "MAC502", "MAC504"}  # the tests of the alert that was renamed or changed


def test_the_good_one_is_good() -> None:
    assert codes() == set()
    assert findings(tree()) == []


PAGE = ("severity: ticket", "severity: page, signal: total-loss")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ([("alert: ForebayDiskFull", "alert: DiskFull")], "MAC401"),
        ([("alert: ForebayDiskFull", "alert: ForebayDisk")], "MAC401"),
        ([("alert: ForebayDiskFull", "alert: Forebay_disk_full")], "MAC401"),
        ([("severity: ticket", "severity: critical")], "MAC403"),
        ([("severity: ticket, ", "")], "MAC403"),
        ([(", owner: disks", "")], "MAC404"),
        ([("by (namespace, cache_cluster)", "by (namespace)")], "MAC404"),
        ([("owner: disks", "owner: disks, scope: origin")], "MAC404"),
        ([("          summary: Full\n", "")], "MAC405"),
        ([("          description: Disks of {{ $labels.cache_cluster }} are full.\n", "")], "MAC405"),
        ([("          runbook_url: https://forebay.dev/runbooks/ForebayDiskFull\n", "")], "MAC405"),
        ([("alert: ForebayDiskFull", "alert: ForebayDiskEmpty")], "MAC406"),
        ([("runbooks/ForebayDiskFull", "runbooks/ForebayDiskEmpty")], "MAC406"),
        ([("avg by (namespace, cache_cluster) (avg", "(avg")], "MAC407"),
        ([("by (namespace, cache_cluster)", "by (namespace, cache_cluster, pod)")], "MAC407"),
        ([("owner: disks", "owner: disks, instance: x")], "MAC407"),
        ([("severity: ticket", "severity: page")], "MAC408"),
        ([("severity: ticket", "severity: page, signal: cpu")], "MAC408"),
        ([("severity: ticket", "severity: page, signal: burn-rate")], "MAC408"),
        ([("severity: ticket", "severity: page, signal: failure-domain")], "MAC408"),
        ([("for: 15m", "for: 14m")], "MAC409"),
        ([("        for: 15m\n", "")], "MAC409"),
        ([PAGE, ("for: 15m", "for: 1m")], "MAC409"),
        ([("avg_over_time(forebay_store_used_bytes[15m])", "forebay_store_used_bytes")], "MAC410"),
        ([("avg_over_time(forebay_store_used_bytes[15m])",
           "rate(forebay_origin_errors_total[5m]) / rate(forebay_origin_requests_total[5m])")], "MAC411"),
        ([("owner: disks", "owner: disks, scope: galaxy")], "MAC414"),
    ],
)  # fmt: skip
def test_each_standard(changes: list[tuple[str, str]], code: str) -> None:
    found = codes(*changes)
    assert code in found
    assert found <= {code, "MAC406"}  # whoever renames an alert renames its runbook


def test_a_gauge_may_keep_firing_in_its_stead() -> None:
    gauge = ("avg_over_time(forebay_store_used_bytes[15m])", "forebay_store_used_bytes")
    assert codes(gauge, ("for: 15m", "for: 15m\n        keep_firing_for: 10m")) == set()


def test_info_may_be_short_and_speak_of_instances() -> None:
    text = ALERT.replace("severity: ticket", "severity: info").replace("for: 15m", "for: 0s")
    text = text.replace("avg by (namespace, cache_cluster) ", "").replace(
        "          runbook_url: https://forebay.dev/runbooks/ForebayDiskFull\n", ""
    )
    assert {one.code for one in findings(tree(**{RULES: text}))} == set()


def test_a_failure_domain_pages_after_a_minute() -> None:
    page = ("severity: ticket, owner: disks", "severity: page, signal: failure-domain, scope: fleet, owner: disks")
    assert codes(page, ("for: 15m", "for: 1m")) == set()


def test_absent_waits_in_any_severity() -> None:
    change = ("avg by (namespace, cache_cluster) (avg_over_time(forebay_store_used_bytes[15m])) > 1000", "absent(up)")
    quick = [("severity: ticket, owner: disks", "severity: info, owner: disks, namespace: a, scope: fleet")]
    assert codes(change, *quick, ("for: 15m", "for: 0s")) == {"MAC409"}


def test_names_are_unique() -> None:
    twice = ALERT + ALERT.partition("groups:\n")[2]
    assert sorted(one.line for one in findings(tree(**{RULES: twice})) if one.code == "MAC412") == [12, 14]
    same = rules("- {record: a:b:c, expr: up}", "- {record: a:b:c, expr: up}")
    assert [(one.code, one.line) for one in findings(same)] == [("MAC412", 5)]
    other = rules("- {record: a:b:c, expr: up}", "- {record: a:b:c, expr: up, labels: {x: y}}")
    assert findings(other) == []


def test_recordings_say_their_level() -> None:
    assert [one.code for one in findings(rules("- {record: errors, expr: up}"))] == ["MAC402"]


def test_budgets() -> None:
    tight = tree(**{"standards/budgets.yaml": "ruleBytes: 100\n"})
    assert [one.code for one in findings(tight)] == ["MAC413"]
    few = rules(*(f"- {{record: a:b:c{n}, expr: up}}" for n in range(101)))
    assert [(one.code, one.line) for one in findings(few)] == [("MAC413", 2)]


def test_keep_firing_for_needs_a_prometheus_that_knows_it() -> None:
    text = ALERT.replace("for: 15m", "for: 15m\n        keep_firing_for: 10m")
    old = tree(**{RULES: text, "forebay.yaml": "schema: 1\npack: false\nprometheus: '2.40'"})
    assert [(one.code, one.line) for one in findings(old)] == [("MAC305", 7)]
