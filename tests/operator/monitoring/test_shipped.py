"""The pack by the standards it brings: everything is labelled, explained and tested, and the real programs agree."""

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from forebay_operator.model import MonitoringLacks
from forebay_operator.monitoring.engine import Setting, Verdict, judge
from forebay_operator.monitoring.lint.expressions import Expressions
from forebay_operator.monitoring.render.resources import EXAMPLE
from forebay_operator.monitoring.shipped import shipped
from forebay_operator.monitoring.unit.promtool import find_promtool, result_findings
from forebay_operator.monitoring.unit.suite import coverage


@pytest.fixture(scope="module")
def pack() -> Verdict:
    """As a repository of its own, so that its tests run."""
    tree = {**shipped(), "forebay.yaml": b"schema: 1\npack: false\n"}
    return judge(tree, EXAMPLE, Setting("0.1.0", {}, time.monotonic))


def test_no_finding(pack: Verdict) -> None:
    assert pack.findings == ()


def test_every_alert_fires_and_is_silent_in_a_test(pack: Verdict) -> None:
    assert pack.bundle
    for name, fires, silent in coverage(pack.bundle, pack.suites):
        assert fires, name
        assert silent or name == "ForebayWatchdog", name


def test_rules_are_few_and_name_no_cluster(pack: Verdict) -> None:
    assert pack.bundle
    assert pack.bundle.rule_bytes <= 64 << 10
    assert not [rule.name for rule in pack.bundle.rules if "vision" in rule.expr]


def test_every_runbook_belongs_to_an_alert(pack: Verdict) -> None:
    assert pack.bundle
    runbooks = {name.removesuffix(".md") for name, _ in pack.bundle.repository.below("runbooks/")}
    assert runbooks == {alert.name for alert in pack.bundle.alerts if alert.labels["severity"] in ("page", "ticket")}


def test_promtool_runs_all_of_it_within_20_s(pack: Verdict) -> None:
    try:
        promtool = find_promtool(None, 60, time.monotonic)
    except MonitoringLacks as exc:
        pytest.skip(str(exc))
    assert pack.bundle
    assert list(promtool.check(pack.bundle.rule_files)) == []
    assert [str(one) for one in result_findings(promtool.test(pack.bundle, pack.suites))] == []


def test_amtool_reads_the_routes_and_agrees_on_each_case(pack: Verdict, tmp_path: Path) -> None:
    if not shutil.which("amtool"):
        pytest.skip("amtool is not here (Debian package `prometheus-alertmanager`)")
    assert pack.bundle
    (routes,) = pack.bundle.routes
    config = tmp_path / "alertmanager.yml"
    config.write_text(routes.text)
    done = subprocess.run(
        ["amtool", "check-config", str(config)], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for case in yaml.safe_load(shipped()["tests/routes.yaml"]):
        said = [f"{name}={json.dumps(value)}" for name, value in case["labels"].items()]
        command = ["amtool", "config", "routes", "test", "--config.file", str(config), *said]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        assert done.stdout.strip().split(",") == case["receivers"]


def test_every_series_that_is_read_is_one_that_somebody_shows(pack: Verdict) -> None:
    assert pack.bundle
    expressions = Expressions(pack.bundle)
    recorded = {rule.name for rule in pack.bundle.rules if not rule.alerting}
    read = {name for rule in pack.bundle.rules for name in expressions.of(rule.expr).metrics}
    assert read - recorded <= {"up", *(n for n in read if n.startswith("forebay_"))}
    assert recorded <= read, "a recording that nobody reads"
