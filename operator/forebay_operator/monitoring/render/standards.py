"""What a repository says about itself: forebay.yaml, standards/*.yaml, profiles/*.yaml and metrics.yaml.

Every field has a default, so that an empty file is a good one; a field that nobody knows is a typo and refused.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from forebay_cache.contract.metrics import LATENCY_BUCKETS
from forebay_operator.model import Finding, MonitoringRefused
from forebay_operator.monitoring.render.document import Node
from forebay_operator.monitoring.render.durations import seconds

SCHEMA = 1


def is_duration(value: Any) -> Any:
    seconds(str(value))
    return value


def is_bound(value: Any) -> Any:
    if value not in LATENCY_BUCKETS:
        raise ValueError(f"{value} is no bound of the histogram; there are {', '.join(map(str, LATENCY_BUCKETS))}")
    return value


Duration = Annotated[str, BeforeValidator(is_duration)]
Share = Annotated[float, Field(gt=0, lt=1)]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Root(Part):
    """forebay.yaml. `prometheus`: the version that will load the rules; `operator`: the oldest that understands this."""

    schema_: int = Field(alias="schema")
    prometheus: Annotated[str, Field(pattern=r"^\d+\.\d+$")] = "2.42"
    operator: Annotated[str, Field(pattern=r"^\d+\.\d+(\.\d+)?$")] = "0.1"
    scrape_interval: Duration = "30s"
    pack: bool = True
    """Whether the shipped rules, routes and runbooks are part of it; a file of the same path replaces one of them."""


class Labels(Part):
    owner: str = "platform"
    """Who acts where a rule does not say."""
    namespace: str = "forebay"
    """Of alerts that concern more than one cluster."""
    alert_prefixes: tuple[str, ...] = ("Forebay",)
    runbook_url: str = "https://forebay.dev/runbooks/"
    """Before an alert's name."""


class Severity(Part):
    wait: Duration
    """The shortest a rule of this severity may wait."""
    repeat: Duration
    """The shortest between two messages that say the same."""


class Severities(Part):
    page: Severity = Severity(wait="2m", repeat="4h")
    ticket: Severity = Severity(wait="15m", repeat="24h")
    info: Severity = Severity(wait="0s", repeat="24h")


class Slo(Part):
    availability: Share = 0.999
    """Share of reads answered without an error of ours."""
    read_seconds: Annotated[float, BeforeValidator(is_bound)] = 0.5
    """A read longer than this is slow."""
    read_share: Share = 0.99
    """Share of reads that are not slow."""
    requests_per_hour: Annotated[float, Field(ge=0)] = 100
    """Below this a ratio says nothing."""


class Routing(Part):
    page: str = "pages"
    ticket: str = "tickets"
    info: str = "nobody"
    heartbeat: str = "heartbeat"
    group_wait: Duration = "30s"
    group_interval: Duration = "5m"


class Budgets(Part):
    rule_bytes: Annotated[int, Field(gt=0)] = 262_144
    rules_per_group: Annotated[int, Field(gt=0)] = 100
    dashboard_bytes: Annotated[int, Field(gt=0)] = 900_000


class Standards(Part):
    labels: Labels = Labels()
    severities: Severities = Severities()
    slo: Slo = Slo()
    routing: Routing = Routing()
    budgets: Budgets = Budgets()


class Override(Part):
    """overrides/<namespace>/<cluster>.yaml: what one cluster's objectives are where they are not everybody's."""

    slo: Slo = Slo()


class KnownMetric(Part):
    name: Annotated[str, Field(pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$")]
    type: Literal["counter", "gauge", "histogram", "summary"]
    labels: tuple[str, ...] = ()


class Metrics(Part):
    metrics: tuple[KnownMetric, ...] = ()


P = TypeVar("P", bound=BaseModel)


def read_part(model: type[P], node: Node) -> P:
    """`node` as a `model`; an empty document is one of defaults. Raises MonitoringRefused."""
    try:
        return model.model_validate({} if node.value is None else node.plain())
    except ValidationError as exc:
        raise refuse_fields(exc, node) from exc


def refuse_fields(exc: ValidationError, node: Node) -> MonitoringRefused:
    """One finding for each field, at its line."""
    findings = []
    for error in exc.errors():
        path = list(error["loc"])
        where = ".".join(map(str, path)) or "the document"
        findings.append(Finding(*node.at(*path).place, "MAC206", f"{where}: {error['msg']}"))
    return MonitoringRefused(*findings)


def merged(below: Node, above: Node) -> Node:
    """`above` over `below`, mapping by mapping; each value keeps its place."""
    if above.value is None:
        return below
    if not (isinstance(below.value, Mapping) and isinstance(above.value, Mapping)):
        return above
    both = dict(below.value)
    for name, one in above.value.items():
        both[name] = merged(both[name], one) if name in both else one
    return Node(both, above.place)
