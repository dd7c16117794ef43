"""The CRDs: fresh, deterministic, bounded, and what the models say."""

import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

from forebay_operator import model
from forebay_operator.api import crd, v1alpha1
from forebay_operator.api.rules import RULES
from forebay_operator.kube import merge

ROOT = pathlib.Path(__file__).parents[3]
KINDS = ["CacheCluster", "Dataset"]


def nodes(schema: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, (*path, name))
    for inside in ("items", "additionalProperties"):
        if inside in schema:
            yield from nodes(schema[inside], path)


def test_the_files_are_fresh(tmp_path: pathlib.Path) -> None:
    crd.main(str(tmp_path))
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert written == {path.name: path.read_text() for path in (ROOT / "crds").iterdir()}


def test_names_agree_with_the_operators() -> None:
    for kind in (model.CACHE_CLUSTER, model.DATASET):
        definition = crd.crd(kind.kind)["spec"]
        assert f"{definition['group']}/{definition['versions'][0]['name']}" == kind.api_version
        assert definition["names"]["plural"] == kind.plural
    assert v1alpha1.GROUP == model.GROUP


@pytest.mark.parametrize("kind", KINDS)
def test_every_text_list_and_map_of_a_spec_has_a_bound(kind: str) -> None:
    for path, node in nodes(crd.schema(kind)["properties"]["spec"]):
        if node.get("type") == "string":
            assert {"maxLength", "enum"} & node.keys(), path
        if node.get("type") == "array":
            assert "maxItems" in node, path
        if "additionalProperties" in node:
            assert "maxProperties" in node, path


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_explained(kind: str) -> None:
    for path, node in nodes(crd.schema(kind)):
        inside_map = not path or path[-1] in ("requests", "limits")
        if path and path[0] in ("spec", "status") and not inside_map and "type" in node and node["type"] != "object":
            assert node.get("description") or len(path) == 1 or node.get("x-kubernetes-int-or-string"), path


@pytest.mark.parametrize("kind", KINDS)
def test_a_status_has_no_defaults(kind: str) -> None:
    assert not [path for path, node in nodes(crd.schema(kind)["properties"]["status"]) if "default" in node]


@pytest.mark.parametrize("kind", KINDS)
def test_every_rule_is_in_the_schema_once(kind: str) -> None:
    said = [rule["message"] for _, node in nodes(crd.schema(kind)) for rule in node.get("x-kubernetes-validations", ())]
    assert sorted(said) == sorted(rule.message for rule in RULES[kind])
    assert len({rule.name for rule in RULES[kind]}) == len(RULES[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_the_dictionary_knows_the_same_keyed_lists(kind: str) -> None:
    for path, node in nodes(crd.schema(kind)):
        if node.get("type") == "array":
            known = merge.KEYS.get(".".join(path)) or merge.KEYS.get(path[-1])
            assert known == (
                tuple(node["x-kubernetes-list-map-keys"]) if node["x-kubernetes-list-type"] == "map" else None
            )


def test_a_models_defaults_are_the_schemas() -> None:
    spec = {"storage": {"capacity": "1Gi", "emptyDir": {}}}
    read = v1alpha1.CacheCluster.model_validate({"metadata": {"name": "main"}, "spec": spec})
    from forebay_operator.api import defaults  # noqa: PLC0415 - beside its one use

    body = {"apiVersion": "forebay.dev/v1alpha1", "kind": "CacheCluster", "metadata": {"name": "main"}, "spec": spec}
    whole, errors = defaults.checked("CacheCluster", None, body)
    assert not errors
    assert read.spec.model_dump(by_alias=True, exclude_none=True) == whole["spec"]
