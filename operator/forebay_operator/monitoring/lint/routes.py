"""Standards of routes (MAC601 to MAC606): who hears of what, how often, in one message with what. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from forebay_operator.model import Finding, MonitoringRefused
from forebay_operator.monitoring.lint.base import ANY
from forebay_operator.monitoring.lint.expressions import Expressions
from forebay_operator.monitoring.lint.tree import EMPTY, Reader, Route, items
from forebay_operator.monitoring.render.bundle import Bundle, RouteFile
from forebay_operator.monitoring.render.document import Node, read
from forebay_operator.monitoring.render.durations import seconds
from forebay_operator.monitoring.render.rules import Rule

ROUTE_TESTS = "tests/routes.yaml"
GROUPED: Mapping[str, tuple[str, ...]] = {"page": ("origin",), "ticket": ("owner", "alertname"), "info": ()}
TOP_FIELDS = frozenset({"route", "receivers", "inhibit_rules", "time_intervals", "mute_time_intervals"})
MATCHER_FIELDS = ("source_matchers", "target_matchers")


def route_findings(bundle: Bundle, expressions: Expressions) -> Iterator[Finding]:
    for file in bundle.routes:
        yield from RouteCheck(bundle, file, expressions).findings()
    if ROUTE_TESTS in bundle.repository.files:
        yield from route_test_findings(bundle)


class RouteCheck:
    """One rendered file of routes."""

    def __init__(self, bundle: Bundle, file: RouteFile, expressions: Expressions) -> None:
        self._file, self._standards = file, bundle.repository.standards
        self._fields: Mapping[str, Node] = file.node.value if isinstance(file.node.value, Mapping) else {}
        self._alerts = [(alert, labels_of(alert, expressions)) for alert in bundle.alerts]
        self._reader = Reader()

    def findings(self) -> Iterator[Finding]:
        for name in sorted(self._fields.keys() - TOP_FIELDS):
            yield Finding(*self._fields[name].place, "MAC206", f"nobody reads `{name}`")
        if "route" not in self._fields:
            yield Finding(*self._file.node.place, "MAC603", "there is no `route`")
            return
        root = self._reader.route(self._fields["route"])
        yield from self._reader.findings
        yield from self._receivers(root)
        yield from self._labels(root)
        yield from dict.fromkeys(finding for alert in self._alerts for finding in self._ways(root, *alert))

    def _receivers(self, root: Route) -> Iterator[Finding]:
        listed = items(self._fields.get("receivers", EMPTY))
        known = {
            str(one.value["name"].value) for one in listed if isinstance(one.value, Mapping) and "name" in one.value
        }
        for route in root.every():
            if route.receiver not in known:
                yield Finding(*route.place("receiver"), "MAC603", f"there is no receiver {route.receiver!r}")

    def _labels(self, root: Route) -> Iterator[Finding]:
        """Whether alerts carry the labels that are asked for."""
        known = {"alertname", *(name for _, labels in self._alerts for name in labels)}
        asked = [(m.name, route.place("matchers")) for route in root.every() for m in route.matchers]
        reader = Reader()
        for rule in items(self._fields.get("inhibit_rules", EMPTY)):
            fields = rule.value if isinstance(rule.value, Mapping) else {}
            for field in MATCHER_FIELDS:
                asked += [(m.name, rule.at(field).place) for m in reader.matchers(fields.get(field, EMPTY))]
            asked += [(str(one.value), one.place) for one in items(fields.get("equal", EMPTY))]
        yield from reader.findings
        for name, place in asked:
            if name not in known:
                yield Finding(*place, "MAC604", f"no alert carries the label {name}")

    def _ways(self, root: Route, alert: Rule, labels: Mapping[str, str]) -> Iterator[Finding]:
        severity = labels.get("severity", "")
        if severity not in GROUPED:
            return
        for route in root.taken({**labels, "alertname": alert.name}):
            if route is root and severity != "info":
                yield Finding(*root.place("routes"), "MAC605", f"a {severity} such as {alert.name} ends at the root")
                continue
            yield from self._grouping(route, severity)
            yield from self._timing(route, severity)

    def _grouping(self, route: Route, severity: str) -> Iterator[Finding]:
        lacking = [name for name in GROUPED[severity] if name not in route.group_by]
        if lacking or ("..." in route.group_by and severity != "info"):
            said = f"a {severity} is grouped by {', '.join(GROUPED[severity])}, not by {', '.join(route.group_by) or 'nothing'}"
            yield Finding(*route.place("group_by"), "MAC601", said)

    def _timing(self, route: Route, severity: str) -> Iterator[Finding]:
        routing = self._standards.routing
        repeat = getattr(self._standards.severities, severity).repeat
        least = {"group_wait": routing.group_wait, "group_interval": routing.group_interval, "repeat_interval": repeat}
        for name, standard in least.items():
            try:
                enough = seconds(route.settings[name]) >= seconds(standard)
            except ValueError as exc:
                yield Finding(*route.place(name), "MAC602", f"{name}: {exc}")
                continue
            if not enough:
                said = f"{name} {route.settings[name]} for a {severity}; the least is {standard}"
                yield Finding(*route.place(name), "MAC602", said)


def labels_of(alert: Rule, expressions: Expressions) -> dict[str, str]:
    """Labels an alert comes with; what only a series knows is `x`."""
    shape = expressions.of(alert.expr).shape
    return {**dict.fromkeys(sorted(shape.labels - {ANY}), "x"), **alert.labels}


def route_test_findings(bundle: Bundle) -> Iterator[Finding]:
    """MAC606: each case of tests/routes.yaml names labels and who hears of them."""
    file = bundle.repository.files[ROUTE_TESTS]
    roots = [Reader().route(one.node.value["route"]) for one in bundle.routes if has_route(one)]
    try:
        node = read(file.text, file.shown)
    except MonitoringRefused as exc:
        yield from exc.findings
        return
    if not isinstance(node.value, tuple):
        yield Finding(*node.place, "MAC606", "expected a list of cases")
    for case in items(node):
        plain: Any = case.plain()
        fields = plain if isinstance(plain, Mapping) else {}
        if not isinstance(fields.get("labels"), Mapping) or not isinstance(fields.get("receivers"), list):
            yield Finding(*case.place, "MAC606", "a case has `labels` and `receivers`")
            continue
        labels = {str(name): str(value) for name, value in fields["labels"].items()}
        heard = [route.receiver for root in roots for route in root.taken(labels)]
        if heard != fields["receivers"]:
            said = f"heard by {', '.join(heard) or 'nobody'}, not by {', '.join(map(str, fields['receivers']))}"
            yield Finding(*case.at("receivers").place, "MAC606", said)


def has_route(file: RouteFile) -> bool:
    return isinstance(file.node.value, Mapping) and "route" in file.node.value
