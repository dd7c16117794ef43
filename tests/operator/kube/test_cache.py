"""What a cache asks the API server, and what it tells its listeners."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.rigs import objects

from forebay_operator.kube.base import Event
from forebay_operator.kube.cache import ASIDE_MOST, ASIDE_S, CachedKube
from forebay_operator.kube.memory import MemoryKube
from forebay_operator.model import CONFIG_MAP, SECRET, SERVICE, Key, KubeNotFound, key_of

OURS = {"ours": "yes"}


@dataclass
class Desk:
    """A cache in front of a dictionary that counts what it is asked."""

    asked: list[tuple[str, str]] = field(default_factory=list)
    clock: list[float] = field(default_factory=lambda: [0.0])
    told: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.below = MemoryKube(fault=lambda verb, key: self.asked.append((verb, key.name)))
        self.cache = CachedKube(self.below, {CONFIG_MAP: {}, SECRET: OURS}, lambda: self.clock[0])
        self.cache.listen(self.hear)

    def hear(self, event: Event) -> None:
        self.told.append((event.type, event.object["metadata"]["name"]))

    async def asks(self, call: Any) -> list[tuple[str, str]]:
        del self.asked[:]
        await call
        return [one for one in self.asked if one[0] != "watch"]


@asynccontextmanager
async def desk() -> AsyncIterator[Desk]:
    found = Desk()
    task = asyncio.create_task(found.cache.run())
    try:
        await found.cache.list(CONFIG_MAP)
        await found.cache.list(SECRET, labels=OURS)
        yield found
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def secret(name: str, **labels: str) -> Any:
    return objects.labelled(objects.secret("n", name, a="1"), **labels)


async def test_what_is_followed_is_answered_from_memory() -> None:
    async with desk() as at:
        made = await at.cache.apply(objects.config_map("n", a="1"), manager="us")
        key = key_of(made)
        assert await at.asks(at.cache.get(key)) == []
        assert await at.asks(at.cache.list(CONFIG_MAP, "n")) == []
        assert await at.asks(at.cache.get(key, live=True)) == [("get", key.name)]


async def test_what_is_not_followed_is_asked_for() -> None:
    async with desk() as at:
        with pytest.raises(KubeNotFound):
            await at.cache.get(Key(SERVICE, "n", "a"))
        assert await at.asks(at.cache.list(SERVICE, "n")) == [("list", "")]
        assert await at.asks(at.cache.list(SECRET, "n", {"other": "yes"})) == [("list", "")]


async def test_an_absent_object_of_a_kind_followed_whole_is_not_asked_for() -> None:
    async with desk() as at:
        del at.asked[:]
        with pytest.raises(KubeNotFound):
            await at.cache.get(Key(CONFIG_MAP, "n", "none"))
        assert at.asked == []


async def test_an_object_without_the_labels_is_read_by_name_and_kept_for_a_while() -> None:
    async with desk() as at:
        key = key_of(await at.below.apply(secret("theirs"), manager="user"))
        assert await at.asks(at.cache.get(key)) == [("get", "theirs")]
        assert await at.asks(at.cache.get(key)) == []
        at.clock[0] += ASIDE_S
        assert await at.asks(at.cache.get(key)) == [("get", "theirs")]
        await at.cache.apply(objects.secret("n", "theirs", a="2"), manager="us", force=True)
        assert (await at.cache.get(key))["data"] == (await at.below.get(key))["data"], "our own write is seen"


async def test_copies_of_what_is_not_followed_have_a_limit() -> None:
    async with desk() as at:
        for number in range(ASIDE_MOST + 1):
            made = await at.below.apply(secret(f"s{number}"), manager="user")
            await at.cache.get(key_of(made))
        assert await at.asks(at.cache.get(Key(SECRET, "n", f"s{ASIDE_MOST}"))) == []
        assert await at.asks(at.cache.get(Key(SECRET, "n", "s0"))) == [("get", "s0")]


async def test_listeners_hear_of_own_writes_once_and_of_others_changes() -> None:
    async with desk() as at:
        made = await at.cache.apply(objects.config_map("n", a="1"), manager="us")
        assert at.told == [("ADDED", "settings")]
        await at.below.apply(objects.config_map("n", a="2"), manager="them", force=True)
        await at.cache.delete(key_of(made))
        assert at.told == [("ADDED", "settings"), ("MODIFIED", "settings"), ("DELETED", "settings")]


async def test_what_a_write_returns_may_be_changed() -> None:
    async with desk() as at:
        made: Any = await at.cache.apply(objects.config_map("n", a="1"), manager="us")
        made["data"]["a"] = "changed by its owner"
        assert (await at.cache.get(key_of(made)))["data"] == {"a": "1"}


async def test_silence_is_that_of_the_quietest_watch() -> None:
    async with desk() as at:
        at.clock[0] = 50.0
        await at.cache.apply(objects.config_map("n", a="1"), manager="us")
        await at.below.apply(objects.config_map("n", "b", a="1"), manager="us")
        async with asyncio.timeout(10):
            while len(at.told) < 2:
                await asyncio.sleep(0)
        assert at.cache.silent_s == 50.0, "no Secret was heard of"
