"""Test files of a repository as values, and which alerts they cover (MAC501, MAC502, MAC504). Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forebay_operator.model import Finding, MonitoringRefused
from forebay_operator.monitoring.render.bundle import Bundle
from forebay_operator.monitoring.render.document import Node, Place, read
from forebay_operator.monitoring.render.durations import seconds
from forebay_operator.monitoring.render.repository import PACK

FOLDER = "tests/rules/"


@dataclass(frozen=True, slots=True)
class Case:
    """One expectation of an alert. `at_s`: seconds from the test's begin."""

    alert: str
    fires: bool
    at_s: float
    place: Place


@dataclass(frozen=True, slots=True)
class Suite:
    """One test file. `rule_files`: names of rendered files."""

    name: str
    shown: str
    text: str
    rule_files: tuple[str, ...]
    cases: tuple[Case, ...]
    node: Node

    def place(self, alert: str, at_s: float) -> Place:
        """Of the case that was judged then; else of the alert's first."""
        mine = [case for case in self.cases if case.alert == alert]
        return next((case.place for case in mine if case.at_s == at_s), mine[0].place if mine else (self.shown, 0))


def suites(bundle: Bundle) -> tuple[tuple[Suite, ...], tuple[Finding, ...]]:
    """What can be read, and what is wrong with the rest."""
    found: list[Suite] = []
    findings: list[Finding] = []
    for name, file in bundle.repository.below(FOLDER):
        try:
            node = read(file.text, file.shown)
        except MonitoringRefused as exc:
            findings += exc.findings
            continue
        listed = tuple(str(one.value) for one in node_items(node, "rule_files"))
        found.append(Suite(name, file.shown, file.text, listed, tuple(cases(node)), node))
    return tuple(found), tuple(findings)


def cases(node: Node) -> Iterator[Case]:
    for test in node_items(node, "tests"):
        for one in node_items(test, "alert_rule_test"):
            fields: Any = one.plain()
            if isinstance(fields, Mapping):
                at = str(fields.get("eval_time", "0"))
                yield Case(str(fields.get("alertname", "")), bool(fields.get("exp_alerts")), at_seconds(at), one.place)


def at_seconds(text: str) -> float:
    """-1 where it is no duration: promtool will say so."""
    try:
        return seconds(text)
    except ValueError:
        return -1


def node_items(node: Node, name: str) -> Sequence[Node]:
    inner = node.value.get(name) if isinstance(node.value, Mapping) else None
    return inner.value if inner and isinstance(inner.value, tuple) else ()


def runnable(bundle: Bundle, found: Sequence[Suite]) -> list[Suite]:
    """Suites whose rule files are there. The pack's own were run before it shipped, with the standards it ships with; they
    concern a repository only where it replaces the rules."""
    files = {file.name: file.file for file in bundle.rule_files}
    there = [suite for suite in found if suite.rule_files and files.keys() >= set(suite.rule_files)]
    return [
        suite
        for suite in there
        if not suite.shown.startswith(PACK) or not all(files[name].startswith(PACK) for name in suite.rule_files)
    ]


def coverage_findings(bundle: Bundle, found: Sequence[Suite]) -> Iterator[Finding]:
    files = {file.name for file in bundle.rule_files}
    alerts = {alert.name: alert for alert in bundle.alerts}
    for suite in found:
        if not suite.rule_files:
            yield Finding(*suite.node.place, "MAC504", "names no rule_files")
        for name in suite.rule_files:
            if name not in files:
                said = f"there is no rendered rule file {name!r}; there are {', '.join(sorted(files))}"
                yield Finding(*suite.node.at("rule_files").place, "MAC504", said)
        for case in suite.cases:
            if case.alert not in alerts:
                yield Finding(*case.place, "MAC504", f"there is no alert {case.alert!r}")
    seen = {(case.alert, case.fires) for suite in found for case in suite.cases}
    for name, alert in alerts.items():
        if (name, True) not in seen:
            yield Finding(*alert.place("alert"), "MAC501", f"{name}: no test in which it fires")
        if (name, False) not in seen and alert.labels.get("signal") != "heartbeat":
            yield Finding(*alert.place("alert"), "MAC502", f"{name}: no test in which it is silent")


def coverage(bundle: Bundle, found: Sequence[Suite]) -> Sequence[tuple[str, int, int]]:
    """Alert, tests in which it fires, tests in which it is silent."""
    counts = {alert.name: [0, 0] for alert in bundle.alerts}
    for case in (case for suite in found for case in suite.cases):
        if case.alert in counts:
            counts[case.alert][0 if case.fires else 1] += 1
    return [(name, fires, silent) for name, (fires, silent) in sorted(counts.items())]
