"""Server-side apply: who owns what, what goes, what conflicts."""

from typing import Any

import pytest
from tests.rigs import objects

from forebay_operator.model import FIELD_MANAGER, KubeConflict, KubeInvalid, key_of


def managers(obj: Any) -> set[tuple[str, str, str]]:
    return {(e["manager"], e["operation"], e.get("subresource", "")) for e in obj["metadata"].get("managedFields", ())}


async def test_an_apply_creates_and_is_noted(world: Any) -> None:
    made = await world.kube.apply(objects.config_map(world.namespace, a="1"), manager="us")
    assert made["data"] == {"a": "1"}
    assert managers(made) == {("us", "Apply", "")}
    assert made["metadata"]["managedFields"][0]["fieldsV1"] == {"f:data": {"f:a": {}}}


async def test_the_same_apply_again_writes_nothing(world: Any) -> None:
    for body in (
        objects.cluster(world.namespace),
        objects.stateful_set(world.namespace),
        objects.service(world.namespace),
    ):
        first = await world.kube.apply(body, manager="us")
        again = await world.kube.apply(body, manager="us")
        assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_two_managers_keep_their_own_fields(world: Any) -> None:
    await world.kube.apply(objects.config_map(world.namespace, a="1"), manager="us")
    await world.kube.apply(objects.config_map(world.namespace, b="2"), manager="them")
    both = await world.kube.apply(objects.config_map(world.namespace, a="3"), manager="us")
    assert both["data"] == {"a": "3", "b": "2"}


async def test_another_managers_value_is_a_conflict_and_changes_nothing(world: Any) -> None:
    made = await world.kube.apply(objects.config_map(world.namespace, a="1"), manager="us")
    with pytest.raises(KubeConflict, match=r'conflict with "us".*\.data\.a'):
        await world.kube.apply(objects.config_map(world.namespace, a="2", b="2"), manager="them")
    assert objects.plain(await world.kube.get(key_of(made))) == objects.plain(made)


async def test_force_takes_a_field_over(world: Any) -> None:
    await world.kube.apply(objects.config_map(world.namespace, a="1", b="1"), manager="us")
    taken = await world.kube.apply(objects.config_map(world.namespace, a="2"), manager="them", force=True)
    assert taken["data"] == {"a": "2", "b": "1"}
    with pytest.raises(KubeConflict, match='conflict with "them"'):
        await world.kube.apply(objects.config_map(world.namespace, a="1", b="1"), manager="us")


async def test_an_equal_value_is_owned_by_both(world: Any) -> None:
    await world.kube.apply(objects.config_map(world.namespace, a="1", b="1"), manager="us")
    await world.kube.apply(objects.config_map(world.namespace, a="1"), manager="them")
    left = await world.kube.apply(objects.config_map(world.namespace, b="1"), manager="us")
    assert left["data"] == {"a": "1", "b": "1"}
    gone = await world.kube.apply(objects.config_map(world.namespace), manager="them")
    assert gone["data"] == {"b": "1"}


async def test_what_is_left_out_goes(world: Any) -> None:
    full = objects.labelled(objects.config_map(world.namespace, a="1", b="1"), x="1", y="1")
    await world.kube.apply(full, manager="us")
    made = await world.kube.apply(objects.labelled(objects.config_map(world.namespace, b="1"), y="1"), manager="us")
    assert made["data"] == {"b": "1"}
    assert made["metadata"]["labels"] == {"y": "1"}
    bare = await world.kube.apply(objects.body("v1", "ConfigMap", world.namespace, "settings"), manager="us")
    assert not bare.get("data")
    assert not bare["metadata"].get("labels")


async def test_what_is_left_out_of_a_default_comes_back_as_default(world: Any) -> None:
    await world.kube.apply(objects.cluster(world.namespace, replicas=0, s3={"port": 8000}), manager="us")
    made = await world.kube.apply(objects.cluster(world.namespace), manager="us")
    assert (made["spec"]["replicas"], made["spec"]["s3"]) == (1, {"port": 7450})


async def test_a_left_out_part_goes_with_its_defaults(world: Any) -> None:
    image = {"repository": "a/b", "tag": "1"}
    made = await world.kube.apply(objects.cluster(world.namespace, image=image), manager="us")
    assert made["spec"]["image"]["pullPolicy"] == "IfNotPresent"
    made = await world.kube.apply(objects.cluster(world.namespace), manager="us")
    assert "image" not in made["spec"]


async def test_what_was_created_conflicts_with_an_apply(world: Any) -> None:
    made = await world.kube.create(objects.config_map(world.namespace, a="1"))
    assert managers(made) == {(FIELD_MANAGER, "Update", "")}
    with pytest.raises(KubeConflict):
        await world.kube.apply(objects.config_map(world.namespace, a="2"), manager="us")


async def test_sources_are_told_apart_by_name(world: Any) -> None:
    one = {"name": "one", "path": "one/", "directory": {"path": "/one"}}
    two = {"name": "two", "path": "two/", "directory": {"path": "/two"}}
    await world.kube.apply(objects.dataset(world.namespace, sources=[one]), manager="us")
    both = await world.kube.apply(objects.dataset(world.namespace, sources=[two]), manager="them")
    assert [source["name"] for source in both["spec"]["sources"]] == ["one", "two"]
    await world.kube.apply(
        objects.dataset(world.namespace, sources=[one, {**two, "name": "three", "path": "three/"}]), manager="us"
    )
    left = await world.kube.apply(objects.dataset(world.namespace, sources=[one]), manager="us")
    assert [source["name"] for source in left["spec"]["sources"]] == ["one", "two"]


async def test_keyed_items_take_the_order_applied(world: Any) -> None:
    items = {name: {"name": name, "path": f"{name}/", "directory": {"path": f"/{name}"}} for name in "abcd"}
    await world.kube.apply(objects.dataset(world.namespace, sources=[items["a"], items["b"], items["c"]]), manager="us")
    new = [items["c"], items["d"], items["a"], items["b"]]
    made = await world.kube.apply(objects.dataset(world.namespace, sources=new), manager="us")
    assert [source["name"] for source in made["spec"]["sources"]] == ["c", "d", "a", "b"]


async def test_containers_and_their_lists_are_told_apart(world: Any) -> None:
    mine = objects.stateful_set(
        world.namespace,
        env=[{"name": "A", "value": "1"}],
        ports=[{"name": "s3", "containerPort": 7450}],
        volumeMounts=[{"name": "store", "mountPath": "/store"}],
    )
    mine["spec"]["template"]["spec"]["volumes"] = [{"name": "store", "emptyDir": {}}]
    await world.kube.apply(mine, manager="us")
    theirs = objects.stateful_set(
        world.namespace,
        env=[{"name": "B", "value": "2"}],
        ports=[{"name": "admin", "containerPort": 9450}],
        volumeMounts=[{"name": "more", "mountPath": "/more"}],
    )
    theirs["spec"]["template"]["spec"]["volumes"] = [{"name": "more", "emptyDir": {}}]
    await world.kube.apply(theirs, manager="them")
    left = await world.kube.apply(mine, manager="us")
    inside = left["spec"]["template"]["spec"]
    (container,) = inside["containers"]
    assert [e["name"] for e in container["env"]] == ["A", "B"]
    assert [p["name"] for p in container["ports"]] == ["s3", "admin"]
    assert [v["mountPath"] for v in container["volumeMounts"]] == ["/store", "/more"]
    assert [v["name"] for v in inside["volumes"]] == ["store", "more"]


async def test_a_sidecar_of_another_manager_stays(world: Any) -> None:
    mine = objects.stateful_set(world.namespace)
    await world.kube.apply(mine, manager="us")
    theirs = objects.stateful_set(world.namespace)
    theirs["spec"]["template"]["spec"]["containers"] = [{"name": "side", "image": "side:1"}]
    await world.kube.apply(theirs, manager="them")
    left = await world.kube.apply(mine, manager="us")
    assert [c["name"] for c in left["spec"]["template"]["spec"]["containers"]] == ["member", "side"]


async def test_other_lists_are_one_value(world: Any) -> None:
    await world.kube.apply(objects.stateful_set(world.namespace, command=["a", "b"]), manager="us")
    with pytest.raises(KubeConflict, match=r"\.command"):
        await world.kube.apply(objects.stateful_set(world.namespace, command=["a"]), manager="them")
    made = await world.kube.apply(objects.stateful_set(world.namespace, command=["c"]), manager="us")
    assert made["spec"]["template"]["spec"]["containers"][0]["command"] == ["c"]


async def test_ports_of_a_service_are_told_apart_by_number(world: Any) -> None:
    s3, admin = {"name": "s3", "port": 7450}, {"name": "admin", "port": 9450}
    await world.kube.apply(objects.service(world.namespace, "main", s3), manager="us")
    await world.kube.apply(objects.service(world.namespace, "main", admin), manager="them")
    left = await world.kube.apply(objects.service(world.namespace, "main", {**s3, "port": 7451}), manager="us")
    assert sorted(p["port"] for p in left["spec"]["ports"]) == [7451, 9450]


async def test_owners_are_told_apart_by_uid(world: Any) -> None:
    def owned(name: str, uid: str) -> Any:
        body = objects.config_map(world.namespace)
        body["metadata"]["ownerReferences"] = [{"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid}]
        return body

    await world.kube.apply(owned("a", "1"), manager="us")
    both = await world.kube.apply(owned("b", "2"), manager="them")
    assert [one["name"] for one in both["metadata"]["ownerReferences"]] == ["a", "b"]


async def test_finalizers_are_a_set(world: Any) -> None:
    def held(*names: str) -> Any:
        body = objects.cluster(world.namespace)
        body["metadata"]["finalizers"] = list(names)
        return body

    await world.kube.apply(held("a.dev/a", "a.dev/b"), manager="us")
    both = await world.kube.apply(held("a.dev/c"), manager="them")
    assert sorted(both["metadata"]["finalizers"]) == ["a.dev/a", "a.dev/b", "a.dev/c"]
    left = await world.kube.apply(held("a.dev/a"), manager="us")
    assert sorted(left["metadata"]["finalizers"]) == ["a.dev/a", "a.dev/c"]


async def test_a_version_given_must_be_the_newest(world: Any) -> None:
    made = await world.kube.apply(objects.config_map(world.namespace, a="1"), manager="us")
    version = made["metadata"]["resourceVersion"]
    body = objects.config_map(world.namespace, a="2")
    body["metadata"]["resourceVersion"] = version
    await world.kube.apply(body, manager="us")
    with pytest.raises(KubeConflict):
        await world.kube.apply(body | {"data": {"a": "3"}}, manager="us")


async def test_a_uid_given_must_be_there(world: Any) -> None:
    body = objects.config_map(world.namespace, a="1")
    body["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000"
    with pytest.raises(KubeConflict):
        await world.kube.apply(body, manager="us")
    await world.kube.apply(objects.config_map(world.namespace, a="1"), manager="us")
    with pytest.raises((KubeConflict, KubeInvalid)):
        await world.kube.apply(body, manager="us")


async def test_a_version_given_for_an_absent_object_is_not_looked_at(world: Any) -> None:
    body = objects.config_map(world.namespace, a="1")
    body["metadata"]["resourceVersion"] = "1"
    assert (await world.kube.apply(body, manager="us"))["data"] == {"a": "1"}


async def test_generation_counts_changes_of_what_is_wanted(world: Any) -> None:
    first = await world.kube.apply(objects.cluster(world.namespace), manager="us")
    same = await world.kube.apply(objects.labelled(objects.cluster(world.namespace), a="1"), manager="us")
    next_ = await world.kube.apply(objects.cluster(world.namespace, replicas=0), manager="us")
    assert [obj["metadata"]["generation"] for obj in (first, same, next_)] == [1, 1, 2]


async def test_kinds_that_count_generations(world: Any) -> None:
    for body, first in (
        (objects.stateful_set(world.namespace), 1),
        (objects.pod(world.namespace), 1),
        (objects.service(world.namespace), None),
        (objects.config_map(world.namespace), None),
        (objects.secret(world.namespace), None),
    ):
        made = await world.kube.apply(body, manager="us")
        assert made["metadata"].get("generation") == first


async def test_what_was_read_cannot_be_applied_with_its_owners(world: Any) -> None:
    made = await world.kube.apply(objects.config_map(world.namespace, a="1"), manager="us")
    with pytest.raises(KubeInvalid, match="managedFields"):
        await world.kube.apply(made, manager="us")


async def test_an_empty_map_counts(world: Any) -> None:
    await world.kube.apply(objects.cluster(world.namespace), manager="us")
    made = await world.kube.apply(objects.cluster(world.namespace), manager="us")
    assert made["spec"]["storage"]["emptyDir"] == {}


async def test_a_wrong_type_is_refused(world: Any) -> None:
    with pytest.raises(KubeInvalid, match=r"spec\.replicas"):
        await world.kube.apply(objects.cluster(world.namespace, replicas="two"), manager="us")


async def test_two_items_of_one_name_are_refused(world: Any) -> None:
    source = {"name": "one", "directory": {"path": "/one"}}
    with pytest.raises(KubeInvalid, match=r"spec\.sources"):
        await world.kube.apply(objects.dataset(world.namespace, sources=[source, source]), manager="us")
