import itertools
import time

from tests.operator.monitoring.trees import ALERT, RULES, tree, verdict

from forebay_operator.model import Finding
from forebay_operator.monitoring.engine import Setting, judge, told
from forebay_operator.monitoring.guards import Budget
from forebay_operator.monitoring.render.resources import Resources
from forebay_operator.monitoring.render.template import RenderLimits
from forebay_operator.monitoring.shipped import shipped


def test_a_good_revision_is_accepted() -> None:
    found = verdict(tree())
    assert found.accepted
    assert found.bundle
    assert [file.name for file in found.bundle.rule_files] == ["own.yaml"]


def test_the_same_input_gives_the_same_verdict() -> None:
    first, second = verdict(tree()), verdict(tree())
    assert first.findings == second.findings
    assert first.bundle
    assert second.bundle
    assert first.bundle.digest() == second.bundle.digest()


def test_findings_come_sorted_and_once() -> None:
    found = verdict(
        tree(**{RULES: ALERT.replace("severity: ticket", "severity: x").replace("by (namespace", "by (nam")})
    )
    assert not found.accepted
    assert list(found.findings) == sorted(set(found.findings))


def test_an_empty_repository_is_the_pack() -> None:
    found = judge({"forebay.yaml": b"schema: 1\n"}, Resources(), Setting("0.1.0", shipped(), time.monotonic))
    assert found.findings == ()


def test_objectives_of_one_cluster_are_its_own() -> None:
    files = {
        "forebay.yaml": b"schema: 1\n",
        "overrides/training/vision.yaml": b"slo: {availability: 0.99, readSeconds: 1.0}\n",
    }
    found = judge(files, Resources(), Setting("0.1.0", shipped(), time.monotonic))
    assert found.findings == ()
    assert found.bundle
    text = "".join(file.text for file in found.bundle.rule_files)
    assert '(0 * cache_cluster:info:last{namespace="training", cache_cluster="vision"} + 0.01)' in text
    assert 'cache_cluster="vision", le="1.0"}[5m]' in text


def test_the_size_of_a_policy_is_a_guard() -> None:
    assert [one.code for one in verdict(tree(), budget=Budget(rule_bytes=10)).findings] == ["MAC801"]


def test_a_status_says_the_earliest_stage_first_and_is_bounded() -> None:
    many = tuple(Finding("f", n, "MAC401", "x" * 50) for n in range(1, 100))
    why, message = told((*many, Finding("g", 3, "MAC301", "y")))
    assert why == "LintFailed"
    assert message.startswith("g:3: MAC301 y; f:1: MAC401")
    assert len(message) == 1024
    assert told((Finding("g", 0, "MAC101", "y"),)) == ("VerifyFailed", "g: MAC101 y")


def test_expressions_that_take_long_to_read_end_the_lint() -> None:
    clock = itertools.count(step=7.0)
    found = judge(tree(), Resources(), Setting("0.1.0", {}, lambda: next(clock), limits=RenderLimits(time_s=5)))
    assert [one.code for one in found.findings] == ["MAC204"]
