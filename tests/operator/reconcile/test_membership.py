"""An epoch is what the API server has taken; members have it within the same look, and nobody begins anew."""

from typing import Any

import pytest
from tests.operator.reconcile.conftest import World

from forebay_cache.contract.membership import Membership
from forebay_operator import names
from forebay_operator.facts import MEMBERSHIP_FILE
from forebay_operator.model import CONFIG_MAP, KubeConflict, Object


async def begun(world: World) -> Membership:
    await world.cluster()
    await world.look()
    await world.pod()
    await world.settle()
    return await published(world)


async def published(world: World) -> Membership:
    found = await world.get(CONFIG_MAP, names.membership(world.namespace, "main").name)
    return Membership.model_validate_json(found["data"][MEMBERSHIP_FILE])


async def test_the_first_epoch_waits_for_the_members_and_is_theirs_at_once(world: World) -> None:
    await world.cluster()
    await world.look(3)
    assert not any("membership" in one for one in world.kube.writes)
    await world.pod()
    await world.settle()
    first = await published(world)
    assert (first.epoch, [entry.id for entry in first.members]) == (1, [world.member.member])
    assert first.members[0].addresses.peer.endswith(":9451")
    assert world.member.roster == first
    world.kube.writes.clear()
    await world.look(3)
    assert world.kube.writes == []


async def test_a_member_that_was_away_is_given_the_newest(world: World) -> None:
    first = await begun(world)
    world.member.roster = None
    await world.look()
    assert world.member.roster == first


async def test_another_store_is_another_member_in_the_next_epoch(world: World) -> None:
    first = await begun(world)
    world.member.member = "another-store"
    await world.settle()
    second = await published(world)
    assert (second.epoch, [entry.id for entry in second.members]) == (first.epoch + 1, ["another-store"])
    assert world.member.roster == second


@pytest.mark.parametrize("damage", ["deleted", "unreadable"])
async def test_a_lost_record_is_put_back_as_members_have_it(world: World, damage: str) -> None:
    await begun(world)
    world.member.member = "another-store"
    await world.settle()
    newest = await published(world)
    key = names.membership(world.namespace, "main")
    if damage == "deleted":
        await world.kube.kube.delete(key)
    else:
        await world.apply(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": key.name}, "data": {MEMBERSHIP_FILE: "{"}}
        )
    await world.settle()
    assert (await published(world)) == newest
    assert newest.epoch == 2


async def test_what_somebody_else_wrote_first_stands(world: World) -> None:
    first = await begun(world)
    key = names.membership(world.namespace, "main")
    taken: list[str] = []

    async def beaten(body: Object, **_: Any) -> Object:
        taken.append(body["metadata"]["name"])
        raise KubeConflict("the object has been modified")

    real = world.kube.kube.apply

    async def apply(body: Object, **how: Any) -> Object:
        return await (beaten if body["metadata"]["name"] == key.name else real)(body, **how)

    world.member.member = "another-store"
    world.kube.kube.apply = apply  # type: ignore[method-assign]
    await world.look()
    assert taken == [key.name]
    assert await published(world) == first
    assert world.member.roster == first
    world.kube.kube.apply = real  # type: ignore[method-assign]
    await world.settle()
    assert (await published(world)).epoch == 2


async def test_a_member_of_another_cluster_is_nobody(world: World) -> None:
    await begun(world)
    assert world.member.state is not None
    world.member.member = "another-store"
    world.member.state = world.member.state.model_copy(update={"cluster_uid": "elsewhere", "version": 10**6})
    await world.look()
    assert (await published(world)).epoch == 1
