import itertools
import time
from pathlib import Path

import pytest
from tests.operator.monitoring.trees import ALERT, RULES, TEST, tree, verdict

from forebay_operator.model import MonitoringLacks
from forebay_operator.monitoring.unit.promtool import Promtool, find_promtool, result_findings
from forebay_operator.monitoring.unit.suite import runnable


@pytest.fixture
def promtool(tmp_path: Path) -> Promtool:
    try:
        return find_promtool(tmp_path / "verdicts", 60, time.monotonic)
    except MonitoringLacks as exc:
        pytest.skip(str(exc))


def run(promtool: Promtool, test: str = TEST, rules: str = ALERT) -> tuple[list[str], list[bool]]:
    found = verdict(tree(**{"tests/rules/own.test.yaml": test, RULES: rules}))
    assert found.bundle
    results = promtool.test(found.bundle, runnable(found.bundle, found.suites))
    return [str(one) for one in result_findings(results)], [one.kept for one in results]


def test_good_tests_pass_and_their_verdict_is_kept(promtool: Promtool) -> None:
    assert run(promtool) == ([], [False])
    assert run(promtool) == ([], [True])
    assert run(promtool, rules=ALERT.replace("1000", "1001")) == ([], [False])


def test_a_failure_is_said_at_its_case_also_when_it_was_kept(promtool: Promtool) -> None:
    wrong = TEST.replace("summary: Full", "summary: Empty")
    for kept in (False, True):
        (said,), (was,) = run(promtool, wrong)
        assert was is kept
        assert said.startswith("tests/rules/own.test.yaml:9: MAC503 ForebayDiskFull: at 30m: exp:[")
        assert 'summary="Full"' in said


def test_a_broken_verdict_is_none(promtool: Promtool) -> None:
    run(promtool)
    assert promtool.cache
    for path in promtool.cache.iterdir():
        path.write_text("{")
    assert run(promtool) == ([], [False])


def test_a_test_promtool_cannot_read_fails_as_a_file(promtool: Promtool) -> None:
    said, _ = run(promtool, TEST.replace("'2000x40'", "'2000z40'"))
    assert said
    assert "MAC503" in said[0]


def test_past_the_deadline_the_rest_fails(promtool: Promtool) -> None:
    clock = itertools.count(step=100)
    late = Promtool(promtool.program, promtool.version, None, 60, lambda: float(next(clock)))
    (said,), _ = run(late)
    assert "60 s are over" in said


def test_rules_are_checked_by_promtool_itself(promtool: Promtool) -> None:
    found = verdict(tree(**{RULES: ALERT.replace("{{ $labels.cache_cluster }}", "{{ $labels.x")}))
    assert found.bundle
    assert [one.code for one in promtool.check(found.bundle.rule_files)] == ["MAC301"]
    good = verdict(tree()).bundle
    assert good
    assert list(promtool.check(good.rule_files)) == []


def test_nothing_is_left_on_disk(promtool: Promtool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "aside").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "aside"))
    run(promtool)
    assert list((tmp_path / "aside").iterdir()) == []
