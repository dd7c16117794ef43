"""A repository and the clusters there are -> everything that is to be on a cluster, rendered. Pure but for the clock that
bounds a render: it can end one, never change what comes out."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from forebay_operator.model import Finding, MonitoringRefused
from forebay_operator.monitoring.render.document import Node, read
from forebay_operator.monitoring.render.repository import File, Repository
from forebay_operator.monitoring.render.resources import Resources
from forebay_operator.monitoring.render.rules import Rule, RuleFile, read_rules
from forebay_operator.monitoring.render.template import Rendered, RenderLimits, Templates

TEMPLATES = "templates/"
SUFFIX = ".j2"


@dataclass(frozen=True, slots=True)
class RouteFile:
    """`node`: route, receivers and inhibit_rules as Alertmanager knows them."""

    name: str
    text: str
    node: Node


@dataclass(frozen=True, slots=True)
class Dashboard:
    """`text`: JSON."""

    name: str
    file: str
    text: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """What one revision gives for the clusters there are."""

    repository: Repository
    rule_files: tuple[RuleFile, ...]
    routes: tuple[RouteFile, ...]
    dashboards: tuple[Dashboard, ...]

    @property
    def rules(self) -> Iterator[Rule]:
        return (rule for file in self.rule_files for group in file.groups for rule in group.rules)

    @property
    def alerts(self) -> Iterator[Rule]:
        return (rule for rule in self.rules if rule.alerting)

    @property
    def rule_bytes(self) -> int:
        return sum(len(file.text.encode()) for file in self.rule_files)

    def digest(self) -> str:
        """Of everything that is sent."""
        sent = [[f.name, f.plain] for f in self.rule_files]
        sent += [[r.name, r.node.plain()] for r in self.routes]
        sent += [[d.name, d.text] for d in self.dashboards]
        return "sha256:" + hashlib.sha256(json.dumps(sent, sort_keys=True).encode()).hexdigest()


def render(repository: Repository, resources: Resources, limits: RenderLimits, now: Callable[[], float]) -> Bundle:
    """Raises MonitoringRefused with the findings of every template that does not render to what it should."""
    renderer = Renderer(repository, resources, limits, now)
    rules = tuple(renderer.each("rules", rule_file))
    routes = tuple(renderer.each("routes", route_file))
    dashboards = tuple(renderer.each("dashboards", dashboard))
    if not renderer.findings and not any(group.rules for file in rules for group in file.groups):
        renderer.findings.append(Finding("templates/rules", 0, "MAC207", "nothing is rendered: not one rule"))
    if renderer.findings:
        raise MonitoringRefused(*renderer.findings)
    return Bundle(repository, rules, routes, dashboards)


Made = Callable[[str, File, Rendered], tuple[Any, list[Finding]]]


class Renderer:
    """Goes on after a template that is refused, so that one run says everything."""

    def __init__(
        self, repository: Repository, resources: Resources, limits: RenderLimits, now: Callable[[], float]
    ) -> None:
        self.findings: list[Finding] = []
        self._sources = {name: (file.shown, file.text) for name, file in repository.below(TEMPLATES)}
        self._files = dict(repository.below(TEMPLATES))
        self._templates = Templates(self._sources, limits, now)
        self._values = values(repository, resources)

    def each(self, folder: str, made: Made) -> Iterator[Any]:
        for name, file in self._files.items():
            if name.startswith(f"{folder}/"):
                try:
                    rendered = self._templates.render(name, self._values)
                    value, findings = made(name.removeprefix(f"{folder}/").removesuffix(SUFFIX), file, rendered)
                except MonitoringRefused as exc:
                    self.findings += exc.findings
                    continue
                self.findings += findings
                yield value


def values(repository: Repository, resources: Resources) -> Mapping[str, Any]:
    """What a template sees. Names are those of the YAML files."""
    overrides = [
        {"namespace": namespace, "name": name, **one.model_dump(mode="json", by_alias=True)}
        for (namespace, name), one in sorted(repository.overrides.items())
    ]
    return {
        "clusters": resources.values(),
        "overrides": overrides,
        "standards": repository.standards.model_dump(mode="json", by_alias=True),
    }


def rule_file(name: str, file: File, rendered: Rendered) -> tuple[RuleFile, list[Finding]]:
    return read_rules(name, rendered.text, read(rendered.text, file.shown, rendered.places))


def route_file(name: str, file: File, rendered: Rendered) -> tuple[RouteFile, list[Finding]]:
    return RouteFile(name, rendered.text, read(rendered.text, file.shown, rendered.places)), []


def dashboard(name: str, file: File, rendered: Rendered) -> tuple[Dashboard, list[Finding]]:
    return Dashboard(name, file.shown, rendered.text), []
