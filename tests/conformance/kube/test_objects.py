"""get, list, create, delete; defaults, schemas and rules of our own kinds."""

import base64
from typing import Any

import pytest
from tests.rigs import objects

from forebay_operator.model import (
    CACHE_CLUSTER,
    CONFIG_MAP,
    KubeConflict,
    KubeExists,
    KubeInvalid,
    KubeNotFound,
    key_of,
)


async def test_an_absent_object_is_not_found(world: Any) -> None:
    key = key_of(objects.config_map(world.namespace))
    with pytest.raises(KubeNotFound):
        await world.kube.get(key)
    with pytest.raises(KubeNotFound):
        await world.kube.delete(key)


async def test_what_is_created_can_be_read(world: Any) -> None:
    made = await world.kube.create(objects.cluster(world.namespace))
    assert objects.plain(await world.kube.get(key_of(made))) == objects.plain(made)
    assert made["metadata"]["uid"]
    assert made["metadata"]["creationTimestamp"].endswith("Z")
    assert made["metadata"]["generation"] == 1


async def test_a_name_is_taken_once(world: Any) -> None:
    await world.kube.create(objects.config_map(world.namespace, a="1"))
    with pytest.raises(KubeExists):
        await world.kube.create(objects.config_map(world.namespace, a="1"))


async def test_what_was_read_cannot_be_created(world: Any) -> None:
    made = await world.kube.create(objects.config_map(world.namespace))
    body = {**made, "metadata": {**made["metadata"], "name": "other"}}
    with pytest.raises(KubeInvalid, match="resourceVersion"):
        await world.kube.create(body)


async def test_generated_names_differ(world: Any) -> None:
    body = objects.config_map(world.namespace)
    del body["metadata"]["name"]
    body["metadata"]["generateName"] = "made-"
    names = {(await world.kube.create(body))["metadata"]["name"] for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("made-") and len(name) == len("made-") + 5 for name in names)


@pytest.mark.parametrize("name", ["Upper", "a_b", "-a", "a-", "a..b", "x" * 254])
async def test_a_bad_name_is_refused(world: Any, name: str) -> None:
    with pytest.raises(KubeInvalid):
        await world.kube.create(objects.config_map(world.namespace, name))


async def test_an_object_belongs_to_its_caller(world: Any) -> None:
    made: Any = await world.kube.create(objects.config_map(world.namespace, a="1"))
    made["data"]["a"] = "changed"
    assert (await world.kube.get(key_of(made)))["data"] == {"a": "1"}


async def test_a_list_is_sorted_and_stays_in_its_namespace(world: Any) -> None:
    for name in ("b", "c", "a"):
        await world.kube.create(objects.cluster(world.namespace, name))
    found = await world.kube.list(CACHE_CLUSTER, world.namespace)
    assert [obj["metadata"]["name"] for obj in found.items] == ["a", "b", "c"]
    assert not (await world.kube.list(CACHE_CLUSTER, f"{world.namespace}-x")).items


async def test_a_list_over_all_namespaces_has_ours(world: Any) -> None:
    made = await world.kube.create(objects.cluster(world.namespace))
    found = await world.kube.list(CACHE_CLUSTER)
    assert made["metadata"]["uid"] in {obj["metadata"]["uid"] for obj in found.items}


async def test_listed_objects_say_their_kind(world: Any) -> None:
    await world.kube.create(objects.secret(world.namespace))
    found = await world.kube.list(key_of(objects.secret("any")).kind, world.namespace)
    assert [(obj["apiVersion"], obj["kind"]) for obj in found.items] == [("v1", "Secret")]


async def test_all_labels_must_be_equal(world: Any) -> None:
    await world.kube.create(objects.labelled(objects.cluster(world.namespace, "both"), a="1", b="2"))
    await world.kube.create(objects.labelled(objects.cluster(world.namespace, "one"), a="1", b="3"))
    await world.kube.create(objects.cluster(world.namespace, "none"))
    found = await world.kube.list(CACHE_CLUSTER, world.namespace, {"a": "1", "b": "2"})
    assert [obj["metadata"]["name"] for obj in found.items] == ["both"]


async def test_a_deleted_object_is_gone(world: Any) -> None:
    made = await world.kube.create(objects.config_map(world.namespace))
    await world.kube.delete(key_of(made))
    assert not [
        o for o in (await world.kube.list(CONFIG_MAP, world.namespace)).items if o["metadata"]["name"] == "settings"
    ]


async def test_a_delete_can_name_the_object_and_its_version(world: Any) -> None:
    made = await world.kube.create(objects.config_map(world.namespace))
    key, metadata = key_of(made), made["metadata"]
    with pytest.raises(KubeConflict):
        await world.kube.delete(key, uid="00000000-0000-0000-0000-000000000000")
    with pytest.raises(KubeConflict):
        await world.kube.delete(key, resource_version=str(int(metadata["resourceVersion"]) - 1))
    await world.kube.delete(key, uid=metadata["uid"], resource_version=metadata["resourceVersion"])


async def test_a_finalizer_holds_an_object(world: Any) -> None:
    body = objects.cluster(world.namespace)
    body["metadata"]["finalizers"] = ["forebay.dev/hold"]
    made = await world.kube.apply(body, manager="us")
    await world.kube.delete(key_of(made))
    held = await world.kube.get(key_of(made))
    assert held["metadata"]["deletionTimestamp"]
    del body["metadata"]["finalizers"]
    await world.kube.apply(body, manager="us")
    with pytest.raises(KubeNotFound):
        await world.kube.get(key_of(made))


async def test_a_secrets_text_becomes_data(world: Any) -> None:
    made = await world.kube.apply(objects.secret(world.namespace, word="hush"), manager="us")
    assert made["data"] == {"word": base64.b64encode(b"hush").decode()}
    assert "stringData" not in made


async def test_a_new_uid_for_each_life(world: Any) -> None:
    first = await world.kube.create(objects.config_map(world.namespace))
    await world.kube.delete(key_of(first))
    second = await world.kube.create(objects.config_map(world.namespace))
    assert first["metadata"]["uid"] != second["metadata"]["uid"]
    assert int(second["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])


async def test_defaults_are_filled_in(world: Any) -> None:
    made = await world.kube.create(objects.cluster(world.namespace))
    spec = made["spec"]
    assert (spec["replicas"], spec["s3"], spec["eviction"], spec["suspend"]) == (1, {"port": 7450}, "LRU", False)
    made = await world.kube.create(objects.dataset(world.namespace))
    assert made["spec"]["sync"] == {"mode": "Interval", "interval": "5m"}
    assert made["spec"]["sources"][0]["s3"] == {
        "bucket": "photos",
        "prefix": "",
        "region": "us-east-1",
        "pathStyle": True,
    }


async def test_a_created_status_is_dropped(world: Any) -> None:
    made = await world.kube.create({**objects.cluster(world.namespace), "status": {"replicas": 7}})
    assert "status" not in made


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({"replicas": 70}, "spec.replicas"),
        ({"eviction": "FIFO"}, "spec.eviction"),
        ({"storage": {"capacity": "1Gi"}}, "exactly one of claim, hostPath and emptyDir"),
        ({"highWatermarkPercent": 60}, "spec.lowWatermarkPercent"),
        ({"unknown": 1}, "unknown"),
    ],
)
async def test_a_broken_schema_or_rule_is_named(world: Any, spec: Any, named: str) -> None:
    with pytest.raises(KubeInvalid, match=named):
        await world.kube.create(objects.cluster(world.namespace, **spec))
    with pytest.raises(KubeInvalid, match=named):
        await world.kube.apply(objects.cluster(world.namespace, **spec), manager="us")


async def test_a_rule_about_change_holds_after_creation_only(world: Any) -> None:
    await world.kube.apply(objects.dataset(world.namespace), manager="us")
    with pytest.raises(KubeInvalid, match="a Dataset stays with its CacheCluster"):
        await world.kube.apply(objects.dataset(world.namespace, clusterRef={"name": "other"}), manager="us")
