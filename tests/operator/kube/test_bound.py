"""Bounds around a Kube: who may not act writes nothing, and a namespace stands for all."""

from collections.abc import Awaitable, Callable

import pytest
from tests.rigs import objects

from forebay_operator.kube.base import Kube
from forebay_operator.kube.bound import BoundKube
from forebay_operator.kube.memory import MemoryKube
from forebay_operator.model import CONFIG_MAP, KubeUnavailable, key_of

BODY = objects.config_map("n", a="1")
WRITES: dict[str, Callable[[Kube], Awaitable[object]]] = {
    "apply": lambda kube: kube.apply(BODY, manager="us"),
    "apply_status": lambda kube: kube.apply_status(BODY, manager="us"),
    "create": lambda kube: kube.create(BODY),
    "delete": lambda kube: kube.delete(key_of(BODY)),
}


@pytest.mark.parametrize("write", WRITES)
async def test_who_may_not_act_writes_nothing_and_reads_on(write: str) -> None:
    below = MemoryKube()
    await below.apply(BODY, manager="before")
    version = (await below.list(CONFIG_MAP)).resource_version
    kube = BoundKube(below, lambda: False)
    with pytest.raises(KubeUnavailable, match="lease"):
        await WRITES[write](kube)
    assert (await below.list(CONFIG_MAP)).resource_version == version
    assert (await kube.get(key_of(BODY)))["data"] == {"a": "1"}


async def test_it_is_asked_before_each_write() -> None:
    held = [True]
    kube = BoundKube(MemoryKube(), lambda: held[0])
    await kube.apply(BODY, manager="us")
    held[0] = False
    with pytest.raises(KubeUnavailable):
        await kube.apply(BODY, manager="us")


async def test_only_its_namespace_is_there() -> None:
    below = MemoryKube()
    kube = BoundKube(below, lambda: True, "n")
    start = (await below.list(CONFIG_MAP)).resource_version
    await below.apply(objects.config_map("other", a="2"), manager="us")
    await below.apply(BODY, manager="us")
    assert [one["metadata"]["namespace"] for one in (await kube.list(CONFIG_MAP)).items] == ["n"]
    event = await anext(aiter(kube.watch(CONFIG_MAP, start)))
    assert event.object["metadata"]["namespace"] == "n"


async def test_closing_it_closes_nothing_below() -> None:
    below = MemoryKube()
    await BoundKube(below, lambda: True).aclose()
    await below.list(CONFIG_MAP)
