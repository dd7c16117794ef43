"""A bundle as Kubernetes objects: PrometheusRules where that resource is known, ConfigMaps where not. Pure.

Both carry the same groups. Names come from file names, so an object is changed and never replaced when its file is edited.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from forebay_operator.model import CONFIG_MAP, Key, Kind, Manifest
from forebay_operator.monitoring.render.bundle import Bundle

PROMETHEUS_RULE = Kind("monitoring.coreos.com/v1", "PrometheusRule", "prometheusrules")
OURS: Mapping[str, str] = {"app.kubernetes.io/managed-by": "forebay", "app.kubernetes.io/component": "monitoring"}
DASHBOARD_LABEL: Mapping[str, str] = {"grafana_dashboard": "1"}
RULES_LABEL: Mapping[str, str] = {"forebay.dev/monitoring": "rules"}
ROUTES_LABEL: Mapping[str, str] = {"forebay.dev/monitoring": "routes"}


@dataclass(frozen=True, slots=True)
class Outputs:
    """`labels`: those by which a Prometheus or a sidecar selects our objects."""

    namespace: str
    rules: Literal["PrometheusRule", "ConfigMap"] = "ConfigMap"
    routing: bool = True
    dashboards: bool = True
    labels: Mapping[str, str] = field(default_factory=dict)


def objects(bundle: Bundle, outputs: Outputs) -> tuple[Manifest, ...]:
    """Sorted by key."""
    return tuple(sorted(made(bundle, outputs), key=lambda one: one.key))


def made(bundle: Bundle, outputs: Outputs) -> Iterator[Manifest]:
    for file in bundle.rule_files:
        name = f"forebay-rules-{slug(file.name)}"
        if outputs.rules == "PrometheusRule":
            yield manifest(PROMETHEUS_RULE, name, outputs, {}, {"spec": {"groups": file.plain}})
        else:
            data = {f"{slug(file.name)}.rules.yaml": file.text}
            yield manifest(CONFIG_MAP, name, outputs, RULES_LABEL, {"data": data})
    for route in bundle.routes if outputs.routing else ():
        name = f"forebay-routes-{slug(route.name)}"
        yield manifest(CONFIG_MAP, name, outputs, ROUTES_LABEL, {"data": {route.name: route.text}})
    for one in bundle.dashboards if outputs.dashboards else ():
        name = f"forebay-dashboard-{slug(one.name)}"
        yield manifest(CONFIG_MAP, name, outputs, DASHBOARD_LABEL, {"data": {one.name: one.text}})


def manifest(
    kind: Kind, name: str, outputs: Outputs, labels: Mapping[str, str], content: Mapping[str, Any]
) -> Manifest:
    metadata = {"name": name, "namespace": outputs.namespace, "labels": {**outputs.labels, **labels, **OURS}}
    body = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **content}
    return Manifest(Key(kind, outputs.namespace, name), body)


def slug(name: str) -> str:
    """A file's name as a part of an object's."""
    stem = re.sub(r"\.(ya?ml|json)$", "", name.lower())
    return re.sub(r"[^a-z0-9]+", "-", stem).strip("-") or "x"
