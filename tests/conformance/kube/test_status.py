"""The status subresource: apart from the rest, in both directions."""

from typing import Any

import pytest
from tests.rigs import objects

from forebay_operator.model import KubeConflict, KubeInvalid, KubeNotFound, key_of


async def test_only_status_is_written(world: Any) -> None:
    made = await world.kube.apply(objects.cluster(world.namespace), manager="us")
    body = objects.labelled(objects.cluster(world.namespace, replicas=0), new="1") | {"status": {"readyReplicas": 1}}
    after = await world.kube.apply_status(body, manager="us")
    assert after["status"] == {"readyReplicas": 1}
    assert after["spec"] == made["spec"]
    assert "labels" not in after["metadata"]
    assert after["metadata"]["generation"] == made["metadata"]["generation"]
    assert after["metadata"]["resourceVersion"] != made["metadata"]["resourceVersion"]


async def test_an_apply_leaves_status_alone(world: Any) -> None:
    made = await world.kube.apply(objects.cluster(world.namespace), manager="us")
    await world.kube.apply_status(objects.status_of(made, readyReplicas=1), manager="us")
    body = objects.cluster(world.namespace, replicas=0) | {"status": {"readyReplicas": 5}}
    after = await world.kube.apply(body, manager="us")
    assert after["status"] == {"readyReplicas": 1}
    after = await world.kube.apply(objects.cluster(world.namespace, replicas=0), manager="us")
    assert after["status"] == {"readyReplicas": 1}


async def test_the_same_status_again_writes_nothing(world: Any) -> None:
    made = await world.kube.apply(objects.cluster(world.namespace), manager="us")
    body = objects.status_of(objects.cluster(world.namespace), conditions=[objects.condition("Ready")], replicas=1)
    first = await world.kube.apply_status(body, manager="us")
    again = await world.kube.apply_status(body, manager="us")
    assert first["metadata"]["resourceVersion"] == again["metadata"]["resourceVersion"]
    assert made["metadata"]["uid"] == again["metadata"]["uid"]


async def test_a_status_left_out_goes(world: Any) -> None:
    body = objects.cluster(world.namespace)
    await world.kube.apply(body, manager="us")
    await world.kube.apply_status(objects.status_of(body, replicas=1, readyReplicas=1), manager="us")
    after = await world.kube.apply_status(objects.status_of(body, replicas=1), manager="us")
    assert after["status"] == {"replicas": 1}


async def test_conditions_are_told_apart_by_type(world: Any) -> None:
    body = objects.cluster(world.namespace)
    await world.kube.apply(body, manager="us")
    ours = objects.status_of(body, conditions=[objects.condition("Ready"), objects.condition("Applied")])
    await world.kube.apply_status(ours, manager="us")
    await world.kube.apply_status(objects.status_of(body, conditions=[objects.condition("Seen")]), manager="them")
    left = objects.status_of(body, conditions=[objects.condition("Ready", status="False")])
    after = await world.kube.apply_status(left, manager="us")
    assert {c["type"]: c["status"] for c in after["status"]["conditions"]} == {"Ready": "False", "Seen": "True"}


async def test_the_status_of_nothing_is_not_found(world: Any) -> None:
    body = objects.cluster(world.namespace)
    with pytest.raises(KubeNotFound):
        await world.kube.apply_status(objects.status_of(body, replicas=1), manager="us")


async def test_a_kind_without_status_has_none(world: Any) -> None:
    body = objects.config_map(world.namespace, a="1")
    await world.kube.apply(body, manager="us")
    with pytest.raises(KubeNotFound):
        await world.kube.apply_status({**body, "status": {}}, manager="us")


async def test_a_broken_status_is_refused(world: Any) -> None:
    body = objects.cluster(world.namespace)
    await world.kube.apply(body, manager="us")
    for status in ({"replicas": "two"}, {"unknown": 1}, {"conditions": [{"type": "Ready"}]}):
        with pytest.raises(KubeInvalid):
            await world.kube.apply_status(objects.status_of(body, **status), manager="us")


async def test_a_status_can_name_the_version_it_was_made_of(world: Any) -> None:
    made = await world.kube.apply(objects.cluster(world.namespace), manager="us")
    await world.kube.apply(objects.cluster(world.namespace, replicas=0), manager="us")
    stale = objects.status_of(objects.cluster(world.namespace), replicas=1)
    stale["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"]
    with pytest.raises(KubeConflict):
        await world.kube.apply_status(stale, manager="us")


async def test_managers_of_status_conflict_too(world: Any) -> None:
    body = objects.cluster(world.namespace)
    await world.kube.apply(body, manager="us")
    await world.kube.apply_status(objects.status_of(body, replicas=1), manager="us")
    with pytest.raises(KubeConflict, match=r"\.status\.replicas"):
        await world.kube.apply_status(objects.status_of(body, replicas=2), manager="them")
    after = await world.kube.apply_status(objects.status_of(body, replicas=2), manager="them", force=True)
    assert after["status"] == {"replicas": 2}


async def test_a_controller_reports_sets_and_pods(world: Any) -> None:
    set_, pod = objects.stateful_set(world.namespace), objects.pod(world.namespace)
    await world.kube.apply(set_, manager="us")
    after = await world.kube.apply_status(objects.status_of(set_, replicas=1, readyReplicas=1), manager="runtime")
    assert (after["status"]["replicas"], after["status"]["readyReplicas"]) == (1, 1)
    assert after["metadata"]["generation"] == 1
    await world.kube.apply(pod, manager="us")
    status = {"phase": "Running", "podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}
    ready = {"type": "Ready", "status": "True"}
    after = await world.kube.apply_status(objects.status_of(pod, **status, conditions=[ready]), manager="runtime")
    assert (after["status"]["phase"], after["status"]["podIP"]) == ("Running", "127.0.0.1")
    assert (await world.kube.get(key_of(pod)))["status"]["conditions"][0]["type"] == "Ready"
