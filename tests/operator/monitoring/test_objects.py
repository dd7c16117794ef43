import json

import yaml
from tests.operator.monitoring.trees import tree, verdict

from forebay_operator.model import Manifest
from forebay_operator.monitoring.objects import Outputs, objects
from forebay_operator.monitoring.render.bundle import Bundle
from forebay_operator.monitoring.render.resources import Cluster, Resources


def bundle(resources: Resources = Resources()) -> Bundle:
    found = verdict(tree(**{"templates/dashboards/a.json.j2": '{"uid": "a", "title": "A"}'}), resources).bundle
    assert found
    return found


def made(**outputs: object) -> dict[str, Manifest]:
    return {one.key.name: one for one in objects(bundle(), Outputs("forebay", **outputs))}  # type: ignore[arg-type]


def test_groups_are_the_same_bytes_in_both_modes() -> None:
    text = made()["forebay-rules-own"].body["data"]["own.rules.yaml"]
    spec = made(rules="PrometheusRule")["forebay-rules-own"].body["spec"]
    assert json.dumps(yaml.safe_load(text), sort_keys=True) == json.dumps(spec, sort_keys=True)


def test_objects_are_ours_and_carry_the_labels_that_select_them() -> None:
    for one in made(labels={"release": "stack"}).values():
        labels = one.body["metadata"]["labels"]
        assert labels["release"] == "stack"
        assert labels["app.kubernetes.io/managed-by"] == "forebay"
        assert one.key.namespace == "forebay"


def test_what_is_not_wanted_is_not_made() -> None:
    assert sorted(made()) == ["forebay-dashboard-a", "forebay-rules-own"]
    assert sorted(made(dashboards=False)) == ["forebay-rules-own"]


def test_a_thousand_starts_and_stops_change_no_object() -> None:
    digests = {
        tuple(one.digest for one in objects(bundle(Resources(clusters=clusters)), Outputs("forebay")))
        for n in range(20)
        for clusters in [tuple(Cluster(namespace="a", name=f"c{i}") for i in range(n * 50))]
    }
    assert len(digests) == 1
