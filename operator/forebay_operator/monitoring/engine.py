"""One revision, judged: files, the operator's version and the clusters there are -> objects to be, or findings. Pure but
for the clock that bounds a render. Unit tests are apart (`unit`), because they run a program."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from forebay_operator.model import Finding, MonitoringRefused
from forebay_operator.monitoring.codes import reason
from forebay_operator.monitoring.guards import Budget, size_findings
from forebay_operator.monitoring.lint.alerts import alert_and_recording_findings
from forebay_operator.monitoring.lint.dashboards import dashboard_findings
from forebay_operator.monitoring.lint.expressions import Expressions, expression_findings
from forebay_operator.monitoring.lint.routes import route_findings
from forebay_operator.monitoring.render.bundle import Bundle, render
from forebay_operator.monitoring.render.repository import read_repository
from forebay_operator.monitoring.render.resources import Resources
from forebay_operator.monitoring.render.template import RenderLimits
from forebay_operator.monitoring.source.base import Tree
from forebay_operator.monitoring.unit.suite import Suite, coverage_findings, suites

MESSAGE_LIMIT = 1024


@dataclass(frozen=True, slots=True)
class Setting:
    """What a revision is judged by beside its files. `pack`: what ships with the operator."""

    version: str
    pack: Tree
    now: Callable[[], float]
    profile: str = ""
    limits: RenderLimits = field(default_factory=RenderLimits)
    budget: Budget = field(default_factory=Budget)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`bundle` is None where nothing could be rendered. Nothing is applied unless there are no findings."""

    bundle: Bundle | None
    suites: tuple[Suite, ...]
    findings: tuple[Finding, ...]

    @property
    def accepted(self) -> bool:
        return self.bundle is not None and not self.findings


def judge(tree: Tree, resources: Resources, setting: Setting) -> Verdict:
    try:
        repository = read_repository(tree, setting.pack, setting.version, setting.profile)
        bundle = render(repository, resources, setting.limits, setting.now)
    except MonitoringRefused as exc:
        return Verdict(None, (), tuple(sorted(set(exc.findings))))
    found, broken = suites(bundle)
    end = setting.now() + setting.limits.time_s
    findings = {
        *lint(bundle, lambda: setting.now() > end),
        *broken,
        *coverage_findings(bundle, found),
        *size_findings(bundle, setting.budget),
    }
    return Verdict(bundle, found, tuple(sorted(findings)))


def lint(bundle: Bundle, late: Callable[[], bool]) -> Iterator[Finding]:
    """Every standard, as codes."""
    expressions = Expressions(bundle)
    read = tuple(expression_findings(bundle, expressions, late))
    yield from read
    if any(one.code == "MAC204" for one in read):
        return
    yield from alert_and_recording_findings(bundle, expressions)
    yield from route_findings(bundle, expressions)
    yield from dashboard_findings(bundle, expressions)


def told(findings: tuple[Finding, ...]) -> tuple[str, str]:
    """Reason and message for a policy's status: the earliest stage's reason, its findings first, at most 1 KiB."""
    ordered = sorted(findings, key=lambda one: (one.code, one))
    message = "; ".join(map(str, ordered))
    more = message if len(message) <= MESSAGE_LIMIT else message[: MESSAGE_LIMIT - 3] + "..."
    return reason(ordered[0].code), more
