"""The models and rules as CustomResourceDefinitions: `python -m forebay_operator.api.crd DIR` writes them.

A CRD's schema is "structural": no references, no unions, every list and map with a bound, because the API server adds up
what the rules may cost at most.
"""

import functools
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

import yaml

from forebay_operator.api.fields import Part
from forebay_operator.api.rules import RULES, Rule
from forebay_operator.api.v1alpha1 import GROUP, VERSION, CacheCluster, Dataset

MODELS: Mapping[str, type[Part]] = {"CacheCluster": CacheCluster, "Dataset": Dataset}
KEPT = (
    "description",
    "type",
    "format",
    "default",
    "enum",
    "minimum",
    "maximum",
    "pattern",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "maxProperties",
    "required",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
)
SHORT = {"CacheCluster": "fbc", "Dataset": "fbd"}
AGE = ("Age", "date", ".metadata.creationTimestamp")
READY = ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status')
REASON = ("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason')
COLUMNS = {
    "CacheCluster": (
        READY,
        ("Members", "integer", ".status.readyReplicas"),
        ("Desired", "integer", ".spec.replicas"),
        ("Used", "integer", ".status.capacity.used"),
        ("Capacity", "integer", ".status.capacity.total"),
        AGE,
        REASON,
    ),
    "Dataset": (
        READY,
        ("Files", "integer", ".status.head.files"),
        ("Size", "integer", ".status.head.bytes"),
        ("Cached", "integer", ".status.cached.percent"),
        ("Commit", "string", ".status.head.commit"),
        ("Cluster", "string", ".spec.clusterRef.name"),
        AGE,
        REASON,
    ),
}
WIDE = ("Reason", "Commit")
SCALE = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".status.selector",
}
SUBRESOURCES: Mapping[str, Mapping[str, Any]] = {
    "CacheCluster": {"status": {}, "scale": SCALE},
    "Dataset": {"status": {}},
}
Schema = dict[str, Any]


def structural(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    """pydantic's JSON schema as a structural one: references and "or null" resolved, titles dropped."""
    if "$ref" in node:
        node = {**definitions[node["$ref"].rpartition("/")[2]], **node}
    choices = [choice for choice in node.get("anyOf", ()) if choice.get("type") != "null"]
    if len(choices) == 1:
        return structural(
            {**choices[0], **{k: v for k, v in node.items() if k != "anyOf" and v is not None}}, definitions
        )
    schema: Schema = {name: node[name] for name in KEPT if name in node}
    if "description" in schema:
        schema["description"] = " ".join(schema["description"].split())
    if "const" in node:
        schema["enum"] = [node["const"]]
    if choices:
        schema |= {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True}
        schema["pattern"] = next(choice["pattern"] for choice in choices if "pattern" in choice)
    return schema | below(node, schema, definitions)


def below(node: Mapping[str, Any], schema: Schema, definitions: Mapping[str, Any]) -> Schema:
    """What an object or a list holds; also completes what Kubernetes wants said of it."""
    more: Schema = {}
    if "properties" in node:
        more["properties"] = {name: structural(child, definitions) for name, child in node["properties"].items()}
    if isinstance(node.get("additionalProperties"), Mapping):
        more["additionalProperties"] = structural(node["additionalProperties"], definitions)
    if schema.get("type") == "array":
        more["items"] = structural(node["items"], definitions)
        more["x-kubernetes-list-type"] = schema.get("x-kubernetes-list-type", "atomic")
    if schema.get("type") == "integer":
        more["format"] = "int64"
    if schema.get("type") == "object" and "default" in schema:
        # whole, because rules are tried on a default before the defaults inside it are filled in
        more["default"] = {name: value for name, value in schema["default"].items() if value is not None}
    return more


def without_defaults(schema: Schema) -> Schema:
    """A status is written whole by its owners: the server must add nothing to it."""
    kept = {name: value for name, value in schema.items() if name != "default"}
    if "properties" in schema:
        kept["properties"] = {name: without_defaults(child) for name, child in schema["properties"].items()}
    if "items" in schema:
        kept["items"] = without_defaults(schema["items"])
    return kept


def add_rule(schema: Schema, rule: Rule) -> None:
    for name in rule.at.split("."):
        schema = schema["properties"][name.removesuffix("[*]")]
        schema = schema["items"] if name.endswith("[*]") else schema
    said = {"rule": rule.cel, "message": rule.message} | ({"fieldPath": f".{rule.field}"} if rule.field else {})
    schema.setdefault("x-kubernetes-validations", []).append(said)


@functools.cache
def schema(kind: str) -> Schema:
    """The structural schema of a kind, rules included. Shared: not to be changed."""
    raw = MODELS[kind].model_json_schema(by_alias=True)
    full = structural(raw, raw["$defs"])
    properties = full["properties"]
    name = {k: v for k, v in properties["metadata"]["properties"]["name"].items() if k != "description"}
    properties["metadata"] = {"type": "object", "properties": {"name": name}}
    properties["status"] = without_defaults(properties["status"])
    texts = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}}
    full |= {"properties": texts | properties, "required": ["spec"]}
    for rule in RULES[kind]:
        add_rule(full, rule)
    return full


def column(name: str, kind: str, path: str) -> dict[str, Any]:
    return {"name": name, "type": kind, "jsonPath": path} | ({"priority": 1} if name in WIDE else {})


def crd(kind: str) -> dict[str, Any]:
    """The whole definition of one kind."""
    plural = f"{kind.lower()}s"
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema(kind)},
        "subresources": SUBRESOURCES[kind],
        "additionalPrinterColumns": [column(*one) for one in COLUMNS[kind]],
    }
    names = {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {**names, "shortNames": [SHORT[kind]], "categories": ["forebay"]},
            "scope": "Namespaced",
            "versions": [version],
        },
    }


class Plain(yaml.SafeDumper):
    """YAML without anchors."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def main(folder: str) -> None:
    """Writes a file for each kind into `folder`."""
    path = pathlib.Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    for kind in MODELS:
        text = yaml.dump(crd(kind), Dumper=Plain, sort_keys=False, width=120, allow_unicode=True)
        head = "# Written by `make gen` from operator/forebay_operator/api: change that.\n"
        (path / f"{GROUP}_{kind.lower()}s.yaml").write_text(head + text)


if __name__ == "__main__":
    main(sys.argv[1])
