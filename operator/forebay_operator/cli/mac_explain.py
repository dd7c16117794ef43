"""What an alert or a code means, in words. For `forebay mac explain`."""

from collections.abc import Callable, Iterator, Mapping

from forebay_operator.model import KubeNotFound
from forebay_operator.monitoring import report
from forebay_operator.monitoring.codes import CODES, reason
from forebay_operator.monitoring.engine import Verdict
from forebay_operator.monitoring.lint.expressions import Expressions
from forebay_operator.monitoring.lint.routes import has_route, labels_of
from forebay_operator.monitoring.lint.tree import Reader
from forebay_operator.monitoring.render.bundle import Bundle
from forebay_operator.monitoring.render.rules import Rule
from forebay_operator.monitoring.unit.suite import coverage


def explained(name: str, judged: Callable[[], Verdict]) -> str:
    """Raises KubeNotFound."""
    if name.upper() in CODES:
        return "\n".join(of_code(name.upper())) + "\n"
    verdict = judged()
    if verdict.bundle is None:
        raise KubeNotFound(f"nothing is rendered: {report.text(verdict.findings[:1]).strip()}")
    found = next((alert for alert in verdict.bundle.alerts if alert.name == name), None)
    if not found:
        names = ", ".join(sorted(alert.name for alert in verdict.bundle.alerts))
        raise KubeNotFound(f"there is no alert {name}; there are {names}")
    return "\n".join(of_alert(found, verdict.bundle, verdict)) + "\n"


def of_code(name: str) -> Iterator[str]:
    code = CODES[name]
    yield f"{name} ({reason(name)}): {code.title}"
    yield code.why
    if code.bad:
        yield f"refused: {code.bad}"
    if code.good:
        yield f"instead: {code.good}"


def of_alert(alert: Rule, bundle: Bundle, verdict: Verdict) -> Iterator[str]:
    expressions = Expressions(bundle)
    labels = {**labels_of(alert, expressions), "alertname": alert.name}
    file, line = alert.place("alert")
    yield f"{alert.name} ({alert.labels.get('severity', 'no severity')}), {file}:{line}"
    yield from (f"{name}: {' '.join(said.split())}" for name, said in alert.annotations.items())
    yield f"waits: {alert.for_s:g} s" + (f", goes on for {alert.keep_s:g} s" if alert.keep_s else "")
    yield f"told apart by: {', '.join(sorted(name for name, value in labels.items() if value == 'x')) or 'nothing'}"
    yield f"heard by: {', '.join(receivers(bundle, labels)) or 'nobody here'}"
    yield from (f"tests: {fires} firing, {silent} silent" for name, fires, silent in tested(bundle, verdict, alert))
    yield "expression:"
    yield from (f"  {text}" for text in alert.expr.splitlines())
    made = made_of(alert.expr, bundle, expressions, {})
    if made:
        yield "made of:"
        yield from (f"  {name} = {' '.join(expr.split())}" for name, expr in sorted(made.items()))
    runbook = bundle.repository.files.get(f"runbooks/{alert.name}.md")
    if runbook:
        yield from ("", runbook.text.rstrip())


def tested(bundle: Bundle, verdict: Verdict, alert: Rule) -> Iterator[tuple[str, int, int]]:
    return (one for one in coverage(bundle, verdict.suites) if one[0] == alert.name)


def receivers(bundle: Bundle, labels: Mapping[str, str]) -> list[str]:
    roots = [Reader().route(one.node.value["route"]) for one in bundle.routes if has_route(one)]
    return [route.receiver for root in roots for route in root.taken(labels)]


def made_of(expr: str, bundle: Bundle, expressions: Expressions, found: dict[str, str]) -> dict[str, str]:
    """Recordings that an expression reads, and those that they read."""
    for name in sorted(expressions.of(expr).metrics):
        recordings = [rule.expr for rule in bundle.rules if rule.name == name and not rule.alerting]
        if recordings and name not in found:
            found[name] = recordings[0]
            made_of(recordings[0], bundle, expressions, found)
    return found
