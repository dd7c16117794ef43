"""Standards of alerts and recordings (MAC401 to MAC414): names, labels, words, and whom they may wake. Pure."""

import re
from collections.abc import Iterator, Mapping

from forebay_operator.model import Finding
from forebay_operator.monitoring.lint.base import INSTANCE_LABELS, Analysis, Shape
from forebay_operator.monitoring.lint.expressions import Expressions
from forebay_operator.monitoring.lint.versions import fault, version_of
from forebay_operator.monitoring.render.bundle import Bundle
from forebay_operator.monitoring.render.durations import seconds
from forebay_operator.monitoring.render.rules import Rule
from forebay_operator.monitoring.render.standards import Severity

RECORDING = re.compile(r"[a-z][a-z0-9_]*:[a-z][a-z0-9_]*:[a-z][a-z0-9_]*")
CAMEL = re.compile(r"([A-Z][a-z0-9]*)+")
SEVERITIES = ("page", "ticket", "info")
SCOPES: Mapping[str, tuple[str, ...]] = {
    # scope -> labels that say where, beside owner and namespace
    "cluster": ("cache_cluster",),
    "origin": ("origin",),
    "fleet": (),
    "operator": (),
}
SIGNALS = ("burn-rate", "total-loss", "failure-domain")
FAILURE_DOMAIN_S = 60
"""A page for a whole failure domain must beat the pages for what depends on it."""


def alert_and_recording_findings(bundle: Bundle, expressions: Expressions) -> Iterator[Finding]:
    for rule in bundle.rules:
        if rule.alerting:
            yield from AlertCheck(bundle, rule, expressions.of(rule.expr)).findings()
        elif not RECORDING.fullmatch(rule.name):
            yield Finding(*rule.place("record"), "MAC402", f"{rule.name!r} is not level:metric:operation")
    yield from duplicates(bundle)
    yield from over_budget(bundle)


class AlertCheck:
    """One alert."""

    def __init__(self, bundle: Bundle, rule: Rule, analysis: Analysis) -> None:
        self._repository, self._rule = bundle.repository, rule
        self._shape: Shape = analysis.shape
        self._severity = rule.labels.get("severity", "")
        self._scope = rule.labels.get("scope", "cluster")
        self._wakes = self._severity in ("page", "ticket")

    def findings(self) -> Iterator[Finding]:
        if self._rule.labels.get("signal") == "heartbeat":
            return
        yield from self._names()
        yield from self._labels()
        yield from self._words()
        yield from self._waits()
        if self._wakes:
            yield from self._instances()
            if self._shape.ratio:
                yield self._at("MAC411", "a share without a least amount of traffic: add `and requests > N`", "expr")
        if self._severity == "page":
            yield from self._signal()

    def _at(self, code: str, message: str, *path: str) -> Finding:
        return Finding(*self._rule.place(*path), code, f"{self._rule.name}: {message}")

    def _names(self) -> Iterator[Finding]:
        prefixes = self._repository.standards.labels.alert_prefixes
        prefix = next((one for one in prefixes if self._rule.name.startswith(one)), None)
        rest = self._rule.name[len(prefix or "") :]
        if prefix is None or len(re.findall("[A-Z]", rest)) < 2 or not CAMEL.fullmatch(rest):
            yield self._at("MAC401", f"is not {prefixes[0] if prefixes else ''}<Thing><State>", "alert")

    def _labels(self) -> Iterator[Finding]:
        labels = self._rule.labels
        if self._severity not in SEVERITIES:
            yield self._at(
                "MAC403", f"severity {self._severity!r} is none of {', '.join(SEVERITIES)}", "labels", "severity"
            )
        if self._scope not in SCOPES:
            yield self._at("MAC414", f"scope {self._scope!r} is none of {', '.join(SCOPES)}", "labels", "scope")
            return
        needed = ("owner", "namespace", *SCOPES[self._scope])
        lacking = [name for name in needed if name not in labels and not self._shape.carries(name)]
        if lacking:
            yield self._at("MAC404", f"neither its labels nor its result carry {', '.join(lacking)}", "expr")

    def _words(self) -> Iterator[Finding]:
        needed = ("summary", "description", *(("runbook_url",) if self._wakes else ()))
        for name in needed:
            if not self._rule.annotations.get(name, "").strip():
                yield self._at("MAC405", f"has no annotation {name}", "annotations")
        if not self._wakes:
            return
        if f"runbooks/{self._rule.name}.md" not in self._repository.files:
            yield self._at("MAC406", f"there is no runbooks/{self._rule.name}.md", "annotations", "runbook_url")
        url = self._rule.annotations.get("runbook_url", "")
        if url and not url.partition("#")[0].removesuffix(".md").endswith(f"/{self._rule.name}"):
            yield self._at("MAC406", f"runbook_url does not end in /{self._rule.name}", "annotations", "runbook_url")

    def _instances(self) -> Iterator[Finding]:
        carried = sorted(INSTANCE_LABELS & (self._shape.labels | self._rule.labels.keys()))
        if carried:
            yield self._at("MAC407", f"a {self._severity} for each {', '.join(carried)}: aggregate it away", "expr")

    def _signal(self) -> Iterator[Finding]:
        signal = self._rule.labels.get("signal", "")
        if signal not in SIGNALS:
            yield self._at("MAC408", f"label signal: a page says which of {', '.join(SIGNALS)} it is", "labels")
        elif signal == "burn-rate" and not self._shape.joined:
            yield self._at("MAC408", "a burn rate compares a long and a short window, joined by `and`", "expr")
        elif signal == "failure-domain" and self._scope == "cluster":
            yield self._at("MAC408", "a failure domain is wider than a cluster: say which scope", "labels", "signal")

    def _waits(self) -> Iterator[Finding]:
        rule, severities = self._rule, self._repository.standards.severities
        standard: Severity | None = getattr(severities, self._severity, None)
        if standard:
            domain = self._severity == "page" and rule.labels.get("signal") == "failure-domain"
            least = FAILURE_DOMAIN_S if domain else seconds(standard.wait)
            if rule.for_s < least:
                yield self._at("MAC409", f"for {rule.for_s:g}s; a {self._severity} waits {least:g}s", "for")
        if self._shape.absent and not rule.for_s:
            yield self._at("MAC409", "absent() without `for` rings at every restart", "for")
        if self._wakes and self._shape.threshold and not rule.keep_s:
            yield self._at("MAC410", "a gauge at its threshold: keep_firing_for, or *_over_time() of it", "expr")
        if rule.keep_s and (said := fault("keep_firing_for", version_of(self._repository.root.prometheus))):
            yield self._at("MAC305", said, "keep_firing_for")


def duplicates(bundle: Bundle) -> Iterator[Finding]:
    """MAC412."""
    seen: dict[tuple[str, ...], str] = {}
    for file in bundle.rule_files:
        for group in file.groups:
            yield from twice(seen, ("group", group.name), group.place)
    for rule in bundle.rules:
        labels = () if rule.alerting else tuple(f"{k}={v}" for k, v in sorted(rule.labels.items()))
        if rule.name:
            yield from twice(seen, ("alert" if rule.alerting else "recording", rule.name, *labels), rule.place())


def twice(seen: dict[tuple[str, ...], str], key: tuple[str, ...], place: tuple[str, int]) -> Iterator[Finding]:
    if key in seen:
        yield Finding(*place, "MAC412", f"the {key[0]} {' '.join(key[1:])} is at {seen[key]} as well")
    seen.setdefault(key, f"{place[0]}:{place[1]}")


def over_budget(bundle: Bundle) -> Iterator[Finding]:
    """MAC413."""
    budgets = bundle.repository.standards.budgets
    for file in bundle.rule_files:
        for group in file.groups:
            if len(group.rules) > budgets.rules_per_group:
                said = f"group {group.name}: {len(group.rules):,} rules; the budget is {budgets.rules_per_group:,}"
                yield Finding(*group.place, "MAC413", said)
    if bundle.rule_bytes > budgets.rule_bytes:
        largest = max(bundle.rule_files, key=lambda file: len(file.text))
        said = f"{bundle.rule_bytes:,} bytes of rules, most of them from here; the budget is {budgets.rule_bytes:,}"
        yield Finding(largest.file, 0, "MAC413", said)
