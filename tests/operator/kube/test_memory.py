"""What only the dictionary has: faults on order, and a bounded history."""

import pytest
from tests.rigs import objects

from forebay_operator.kube.memory import MemoryKube
from forebay_operator.model import CONFIG_MAP, Key, KubeExpired, KubeNotFound, KubeUnavailable, key_of

BODY = objects.config_map("n", a="1")


async def test_a_fault_before_a_write_leaves_nothing() -> None:
    def fail(verb: str, key: Key) -> None:
        if (verb, key) == ("apply", key_of(BODY)):
            raise KubeUnavailable("on order")

    kube = MemoryKube(fault=fail)
    with pytest.raises(KubeUnavailable):
        await kube.apply(BODY, manager="us")
    with pytest.raises(KubeNotFound):
        await kube.get(key_of(BODY))


async def test_a_fault_after_a_write_loses_only_the_answer() -> None:
    def fail(verb: str, key: Key) -> None:
        if verb == "accepted":
            raise KubeUnavailable(f"the answer for {key} was lost")

    kube = MemoryKube(fault=fail)
    with pytest.raises(KubeUnavailable):
        await kube.apply(BODY, manager="us")
    assert (await kube.get(key_of(BODY)))["data"] == {"a": "1"}


async def test_a_watch_that_falls_behind_expires() -> None:
    kube = MemoryKube(history=3)
    start = (await kube.list(CONFIG_MAP)).resource_version
    watch = kube.watch(CONFIG_MAP, start)
    await kube.apply(BODY, manager="us")
    assert (await anext(watch)).type == "ADDED"
    for number in range(5):
        await kube.apply(objects.config_map("n", a=f"x{number}"), manager="us")
    with pytest.raises(KubeExpired):
        await anext(watch)


async def test_a_version_from_another_life_has_expired() -> None:
    with pytest.raises(KubeExpired):
        await anext(aiter(MemoryKube().watch(CONFIG_MAP, "7")))


async def test_times_are_the_clocks() -> None:
    made = await MemoryKube(now=lambda: 0.0).apply(BODY, manager="us")
    assert made["metadata"]["creationTimestamp"] == "1970-01-01T00:00:00Z"


async def test_a_closed_one_answers_nothing() -> None:
    kube = MemoryKube()
    await kube.aclose()
    with pytest.raises(KubeUnavailable):
        await kube.get(key_of(BODY))
