"""What a cache needs of watches: only objects with some labels, and a sign of life."""

import asyncio
from contextlib import aclosing
from typing import Any

from tests.rigs import objects

from forebay_operator.kube.base import Event
from forebay_operator.model import CONFIG_MAP, SECRET, key_of

DEADLINE_S = 20


async def take(world: Any, kind: Any, version: str, count: int, **how: Any) -> list[Event]:
    watch = world.kube.watch(kind, version, world.namespace, **how)
    events: list[Event] = []
    async with asyncio.timeout(DEADLINE_S), aclosing(watch):
        async for event in watch:
            events.append(event)
            if len(events) == count:
                return events
    raise AssertionError(f"the watch ended after {events}")


async def test_an_object_enters_and_leaves_a_watch_by_its_labels(world: Any) -> None:
    async def put(text: str, **labels: str) -> Any:
        body = objects.labelled(objects.config_map(world.namespace, a=text), **labels)
        return await world.kube.apply(body, manager="us")

    version = (await world.kube.list(CONFIG_MAP, world.namespace)).resource_version
    await world.kube.apply(objects.config_map(world.namespace, "other", a="1"), manager="us")
    await put("1")
    came = await put("2", x="1", y="1")
    stayed = await put("3", x="1")
    went = await put("4", x="2")
    back = await put("5", x="1")
    await world.kube.delete(key_of(back))
    events = await take(world, CONFIG_MAP, version, 5, labels={"x": "1"})
    assert [event.type for event in events] == ["ADDED", "MODIFIED", "DELETED", "ADDED", "DELETED"]
    assert [event.object for event in (events[0], events[1], events[3])] == [came, stayed, back]
    last = {**stayed["metadata"], "resourceVersion": went["metadata"]["resourceVersion"]}
    assert events[2].object == {**stayed, "metadata": last}


async def test_a_watch_says_that_it_lives_where_it_is_asked_to(world: Any) -> None:
    made = await world.kube.apply(objects.secret(world.namespace, a="1"), manager="us")
    version = made["metadata"]["resourceVersion"]
    (event,) = await take(world, SECRET, version, 1, bookmarks=True)
    assert event.type == "BOOKMARK"
    assert int(event.object["metadata"]["resourceVersion"]) >= int(version)


async def test_our_own_writes_can_be_read_at_once(world: Any) -> None:
    for number in range(20):
        made = await world.kube.apply(objects.config_map(world.namespace, a=str(number)), manager="us")
        assert (await world.kube.get(key_of(made)))["data"] == {"a": str(number)}
        listed = (await world.kube.list(CONFIG_MAP, world.namespace)).items
        assert str(number) in {one["data"]["a"] for one in listed if one["metadata"]["name"] == "settings"}
        if number % 3 == 0:
            await world.kube.delete(key_of(made))
            listed = (await world.kube.list(CONFIG_MAP, world.namespace)).items
            assert "settings" not in {one["metadata"]["name"] for one in listed}


async def test_a_live_read_is_answered(world: Any) -> None:
    made = await world.kube.create(objects.config_map(world.namespace, a="1"))
    assert (await world.kube.get(key_of(made), live=True))["data"] == {"a": "1"}
