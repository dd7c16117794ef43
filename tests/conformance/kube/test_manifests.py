"""Bad manifests break the same rules at the same fields on the API server and in Python; good ones pass on both."""

import copy
import pathlib
from typing import Any

import pytest
import yaml
from tests.rigs import manifests
from tests.rigs.controlplane import ControlPlane

from forebay_operator.api import defaults
from forebay_operator.api.rules import RULES
from forebay_operator.model import CACHE_CLUSTER, DATASET, key_of

EXAMPLES = pathlib.Path(__file__).parents[3] / "examples"
BAD = manifests.bad()
WORDS = {
    # what the server says -> the schema's word
    "FieldValueRequired": "required",
    "FieldValueNotSupported": "enum",
    "FieldValueTypeInvalid": "type",
    "FieldValueTooLong": "maxLength",
    "FieldValueTooMany": "maxItems",
    "FieldValueDuplicate": "duplicate",
    "should be greater than or equal to": "minimum",
    "should be less than or equal to": "maximum",
    "should match": "pattern",
    "should be at least": "minLength",
    "should have at least": "minItems",
}
ECHOES = ("some validation rules were not checked", "accessor error")
"""What the server says of an object only because of another error in it."""


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_a_bad_manifest_is_named_in_python(bad: manifests.Bad) -> None:
    old = defaults.checked(bad.old["kind"], None, bad.old) if bad.old else (None, [])
    assert not old[1]
    _, errors = defaults.checked(bad.new["kind"], old[0], bad.new)
    assert [(error.path, error.rule) for error in errors] == [(bad.field, bad.rule)]


@pytest.mark.kube
@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_a_bad_manifest_is_named_by_the_server(bad: manifests.Bad, control_plane: ControlPlane) -> None:
    namespace = control_plane.namespace()
    method, new = "POST", copy.deepcopy(bad.new)
    if bad.old:
        status, made = send(control_plane, "POST", namespace, bad.old)
        assert status == 201, made
        method, new["metadata"]["resourceVersion"] = "PUT", made["metadata"]["resourceVersion"]
    status, answer = send(control_plane, method, namespace, new)
    assert status in (400, 422), answer
    assert named(bad.new["kind"], answer) == {(bad.field, bad.rule)}, answer


@pytest.mark.parametrize("kind", ["CacheCluster", "Dataset"])
def test_every_rule_has_a_bad_manifest(kind: str) -> None:
    broken = {bad.rule for bad in BAD if bad.new["kind"] == kind}
    assert {rule.name for rule in RULES[kind]} <= broken


async def test_good_manifests_are_accepted(world: Any) -> None:
    for path in [*sorted((manifests.FOLDER / "good").glob("*.yaml")), *sorted(EXAMPLES.glob("*.yaml"))]:
        for document in yaml.safe_load_all(path.read_text()):
            document["metadata"]["namespace"] = world.namespace
            made = await world.kube.apply(document, manager="us")
            if key_of(made).kind in (CACHE_CLUSTER, DATASET):
                whole, errors = defaults.checked(made["kind"], None, document)
                assert (made["spec"], errors) == (whole["spec"], [])


def send(plane: ControlPlane, method: str, namespace: str, body: dict[str, Any]) -> tuple[int, Any]:
    plural, name = f"{body['kind'].lower()}s", body["metadata"]["name"]
    place = f"/apis/{body['apiVersion']}/namespaces/{namespace}/{plural}" + (f"/{name}" if method == "PUT" else "")
    return plane.call(method, f"{place}?fieldValidation=Strict", body)


def named(kind: str, answer: dict[str, Any]) -> set[tuple[str, str]]:
    """Field and rule of everything the server objects to."""
    if answer["code"] == 400:
        return {(answer["message"].split('unknown field "')[1].split('"')[0], "unknown")}
    causes = [cause for cause in answer["details"]["causes"] if not any(e in cause["message"] for e in ECHOES)]
    return {(cause["field"], rule_of(kind, cause)) for cause in causes}


def rule_of(kind: str, cause: dict[str, Any]) -> str:
    for rule in RULES[kind]:
        if rule.message in cause["message"]:
            return rule.name
    found = [word for said, word in WORDS.items() if said == cause["reason"] or said in cause["message"]]
    return found[0] if found else str(cause)
