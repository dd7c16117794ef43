"""Every expression of a bundle, judged once: rules of one shape share an analysis. Pure."""

from collections.abc import Callable, Iterator, Mapping

from forebay_operator.model import Finding
from forebay_operator.monitoring.lint import promql
from forebay_operator.monitoring.lint.base import Analysis, Shape
from forebay_operator.monitoring.lint.catalogue import ANYTHING, known_series
from forebay_operator.monitoring.lint.versions import version_of
from forebay_operator.monitoring.render.bundle import Bundle
from forebay_operator.monitoring.render.durations import seconds
from forebay_operator.monitoring.render.rules import Rule

UNREADABLE = Analysis(ANYTHING, (), frozenset())


class Expressions:
    """Analyses of one bundle's expressions; recordings are known to each other in any order."""

    def __init__(self, bundle: Bundle) -> None:
        root = bundle.repository.root
        self._scrape_s, self._version = seconds(root.scrape_interval), version_of(root.prometheus)
        self._known: Mapping[str, Shape] = known_series(bundle.repository.metrics)
        self._recordings: dict[str, list[Rule]] = {}
        for rule in bundle.rules:
            if not rule.alerting:
                self._recordings.setdefault(rule.name, []).append(rule)
        self._shapes: dict[str, Shape] = {}
        self._analyses: dict[str, Analysis] = {}

    def of(self, text: str) -> Analysis:
        """`text` as an expression; where it does not parse, one of which nothing is known."""
        key = promql.skeleton(text)
        if key not in self._analyses:
            readable = not promql.syntax_fault(key)  # a matcher's value is never what makes it so
            self._analyses[key] = (
                promql.analyse(key, self.lookup, self._scrape_s, self._version) if readable else UNREADABLE
            )
        return self._analyses[key]

    def lookup(self, name: str) -> Shape | None:
        """A metric or a recording. One that is made of itself is anything."""
        if name in self._known:
            return self._known[name]
        if name not in self._recordings:
            return None
        if name not in self._shapes:
            self._shapes[name] = ANYTHING
            self._shapes[name] = self._recorded(self._recordings[name])
        return self._shapes[name]

    def _recorded(self, rules: list[Rule]) -> Shape:
        shapes = [self.of(rule.expr).shape for rule in rules]
        labels = frozenset[str]().union(*(s.labels | r.labels.keys() for s, r in zip(shapes, rules, strict=True)))
        return Shape(
            labels=labels,
            gauge=any(one.gauge for one in shapes),
            rate=any(one.rate for one in shapes),
            ratio=any(one.ratio for one in shapes),
        )


def expression_findings(bundle: Bundle, expressions: Expressions, late: Callable[[], bool]) -> Iterator[Finding]:
    """MAC301 to MAC310, until it is late."""
    for rule in bundle.rules:
        place = rule.place("expr")
        if late():
            yield Finding(*place, "MAC204", "the expressions up to here took too long to read")
            return
        if fault := promql.syntax_fault(rule.expr):
            yield Finding(*place, "MAC301", f"{rule.name}: {fault}")
            continue
        analysis = expressions.of(rule.expr)
        for code, message in analysis.faults:
            yield Finding(*place, code, f"{rule.name}: {message}")
        if rule.alerting:
            yield from alert_findings(rule, analysis)


def alert_findings(rule: Rule, analysis: Analysis) -> Iterator[Finding]:
    selects = "ALERTS" in analysis.metrics
    if not analysis.shape.condition and not selects and rule.labels.get("signal") != "heartbeat":
        yield Finding(
            *rule.place("expr"), "MAC309", f"{rule.name}: no comparison: it fires as long as its series is there"
        )
    for name, value in rule.labels.items():
        if "$value" in value or ".Value" in value:
            yield Finding(
                *rule.place("labels", name), "MAC310", f"{rule.name}: the label {name} changes with the value"
            )
