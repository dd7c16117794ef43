"""Watches: every change once, in order, from where a list was."""

import asyncio
from contextlib import aclosing
from typing import Any

import pytest
from tests.rigs import objects

from forebay_operator.kube.base import Event
from forebay_operator.model import CONFIG_MAP, SECRET, KubeExpired, key_of

DEADLINE_S = 20


async def take(world: Any, version: str, count: int) -> list[Event]:
    """The first `count` events after `version`."""
    events: list[Event] = []
    async with asyncio.timeout(DEADLINE_S), aclosing(world.kube.watch(CONFIG_MAP, version, world.namespace)) as watch:
        async for event in watch:
            events.append(event)
            if len(events) == count:
                return events
    raise AssertionError(f"the watch ended after {events}")


async def now(world: Any) -> str:
    return str((await world.kube.list(CONFIG_MAP, world.namespace)).resource_version)


async def test_changes_come_once_and_in_order(world: Any) -> None:
    version = await now(world)
    first = await world.kube.apply(objects.config_map(world.namespace, a="1"), manager="us")
    second = await world.kube.apply(objects.config_map(world.namespace, a="2"), manager="us")
    await world.kube.delete(key_of(first))
    third = await world.kube.apply(objects.config_map(world.namespace, "other"), manager="us")
    events = await take(world, version, 4)
    assert [event.type for event in events] == ["ADDED", "MODIFIED", "DELETED", "ADDED"]
    assert [event.object for event in (events[0], events[1], events[3])] == [first, second, third]
    assert events[2].object["data"] == {"a": "2"}
    assert int(events[2].object["metadata"]["resourceVersion"]) > int(second["metadata"]["resourceVersion"])


async def test_a_watch_waits_for_what_comes(world: Any) -> None:
    version = await now(world)
    taking = asyncio.create_task(take(world, version, 1))
    made = await world.kube.apply(objects.config_map(world.namespace), manager="us")
    assert [event.object for event in await taking] == [made]


async def test_a_watch_goes_on_where_another_was(world: Any) -> None:
    version = await now(world)
    for value in "123":
        await world.kube.apply(objects.config_map(world.namespace, a=value), manager="us")
    first = (await take(world, version, 1))[0].object
    rest = await take(world, first["metadata"]["resourceVersion"], 2)
    assert [event.object["data"]["a"] for event in rest] == ["2", "3"]


async def test_a_watch_stays_in_its_namespace_and_kind(world: Any) -> None:
    version = await now(world)
    await world.kube.apply(objects.secret(world.namespace), manager="us")
    await world.kube.apply(objects.config_map("default", f"x-{world.namespace}"), manager="us")
    mine = await world.kube.apply(objects.config_map(world.namespace), manager="us")
    assert [event.object for event in await take(world, version, 1)] == [mine]


async def test_a_write_that_changes_nothing_is_no_event(world: Any) -> None:
    version = await now(world)
    await world.kube.apply(objects.config_map(world.namespace, a="1"), manager="us")
    await world.kube.apply(objects.config_map(world.namespace, a="1"), manager="us")
    await world.kube.apply(objects.config_map(world.namespace, a="2"), manager="us")
    assert [event.object["data"]["a"] for event in await take(world, version, 2)] == ["1", "2"]


async def test_a_watch_sees_status(world: Any) -> None:
    body = objects.cluster(world.namespace)
    made = await world.kube.apply(body, manager="us")
    after = await world.kube.apply_status(objects.status_of(body, replicas=1), manager="us")
    kind = key_of(body).kind
    async with asyncio.timeout(DEADLINE_S):
        async with aclosing(world.kube.watch(kind, made["metadata"]["resourceVersion"], world.namespace)) as watch:
            async for event in watch:
                assert event == Event("MODIFIED", after)
                break


async def test_a_version_of_long_ago_has_expired(world: Any) -> None:
    made = await world.kube.apply(objects.secret(world.namespace, a="1"), manager="us")
    for value in "23":
        await world.kube.apply(objects.secret(world.namespace, a=value), manager="us")
    await world.forget()
    async with asyncio.timeout(DEADLINE_S):
        watch = world.kube.watch(SECRET, made["metadata"]["resourceVersion"], world.namespace)
        with pytest.raises(KubeExpired):
            async for _ in watch:
                pass


async def test_a_closed_kube_ends_its_watches(world: Any) -> None:
    watch = world.kube.watch(CONFIG_MAP, await now(world), world.namespace)
    ending = asyncio.create_task(anext(watch, None))
    await asyncio.sleep(0)
    await world.kube.aclose()
    async with asyncio.timeout(DEADLINE_S):
        assert await ending is None
