from tests.operator.monitoring.trees import ALERT, RULES, TEST, findings, tree, verdict

from forebay_operator.monitoring.render.bundle import Bundle
from forebay_operator.monitoring.unit.suite import coverage, runnable


def codes(test: str | None) -> list[tuple[str, int, str]]:
    return [(one.file, one.line, one.code) for one in findings(tree(**{"tests/rules/own.test.yaml": test}))]


def bundle(files: dict[str, bytes]) -> Bundle:
    found = verdict(files).bundle
    assert found
    return found


def test_an_alert_without_tests_is_refused_at_its_line() -> None:
    assert codes(None) == [(RULES, 4, "MAC501"), (RULES, 4, "MAC502")]


def test_both_kinds_are_needed() -> None:
    fires_only = TEST.rpartition("      - eval_time: 5m")[0]
    assert codes(fires_only) == [(RULES, 4, "MAC502")]


def test_a_test_names_what_there_is() -> None:
    file = "tests/rules/own.test.yaml"
    assert codes(TEST.replace("[own.yaml]", "[/etc/passwd]")) == [(file, 1, "MAC504")]
    assert codes(TEST.replace("rule_files: [own.yaml]\n", "")) == [(file, 1, "MAC504")]
    assert (file, 9, "MAC504") in codes(
        TEST.replace("ForebayDiskFull\n        exp_alerts:\n", "ForebayDiskFul\n        exp_alerts:\n")
    )
    assert codes("a: [1")[-1] == (file, 2, "MAC205")


def test_a_heartbeat_is_never_silent() -> None:
    beat = ALERT.replace("severity: ticket", "severity: info, signal: heartbeat")
    fires_only = TEST.rpartition("      - eval_time: 5m")[0]
    assert findings(tree(**{RULES: beat, "tests/rules/own.test.yaml": fires_only})) == []


def test_coverage_counts() -> None:
    files = tree()
    found = verdict(files)
    assert coverage(bundle(files), found.suites) == [("ForebayDiskFull", 1, 1)]


def test_what_names_other_files_is_not_run() -> None:
    files = tree(**{"tests/rules/own.test.yaml": TEST.replace("[own.yaml]", "[own.yaml, ../x]")})
    assert runnable(bundle(files), verdict(files).suites) == []
    assert len(runnable(bundle(tree()), verdict(tree()).suites)) == 1
