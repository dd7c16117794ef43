"""Events beside the looks: merged, paced, bounded, and given up where they cannot be written."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.rigs import objects

from forebay_operator.kube.memory import MemoryKube
from forebay_operator.model import EVENT, Key, KubeForbidden, KubeUnavailable
from forebay_operator.reconcile.announcer import MESSAGE_MOST, SERIES_MOST, Announcer, Pace, event_name
from forebay_operator.reconcile.news import News

FAILED = News("Failed", "the origin hung up")
PACE = Pace(gap_s=0.0, series_s=60.0, again_s=30.0)


@dataclass
class Desk:
    clock: list[float] = field(default_factory=lambda: [1000.0])
    refusal: Exception | None = None
    tried: int = 0

    def __post_init__(self) -> None:
        self.kube = MemoryKube(fault=self.fault)
        self.announcer = Announcer(self.kube, lambda: self.clock[0], lambda: self.clock[0], PACE)
        self.about: Any = objects.dataset("n")
        self.about["metadata"]["uid"] = "u1"

    def fault(self, verb: str, key: Key) -> None:
        if (verb, key.kind) == ("apply", EVENT):
            self.tried += 1
            if self.refusal:
                raise self.refusal

    def tell(self, *told: News) -> None:
        self.announcer.tell(self.about, told or [FAILED])

    def later(self, seconds: float) -> None:
        """The announcer looks at the clock again when it is told something."""
        self.clock[0] += seconds
        self.announcer._told.set()

    async def events(self) -> list[Any]:
        return list((await self.kube.list(EVENT, "n")).items)

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not done():
                await asyncio.sleep(0)

    async def quiet(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)


@asynccontextmanager
async def running() -> AsyncIterator[Desk]:
    desk = Desk()
    task = asyncio.create_task(desk.announcer.run())
    try:
        yield desk
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_news_is_an_event_of_its_object() -> None:
    async with running() as desk:
        desk.tell(FAILED, News("Readable", "served", warning=False))
        await desk.until(lambda: desk.tried == 2)
        failed, readable = sorted(await desk.events(), key=lambda one: str(one["reason"]))
        assert failed["involvedObject"]["uid"] == "u1"
        assert (failed["type"], failed["reason"], failed["message"]) == ("Warning", "Failed", "the origin hung up")
        assert (failed["count"], failed["firstTimestamp"]) == (1, "1970-01-01T00:16:40Z")
        assert readable["type"] == "Normal"


async def test_the_same_again_is_counted_and_written_once_a_minute() -> None:
    async with running() as desk:
        desk.tell()
        await desk.until(lambda: desk.tried == 1)
        for message in ("once more", "and again"):
            desk.tell(News("Failed", message))
        desk.later(PACE.series_s - 1)
        await desk.quiet()
        assert desk.tried == 1
        desk.later(1)
        await desk.until(lambda: desk.tried == 2)
        (event,) = await desk.events()
        assert (event["count"], event["message"]) == (3, "and again")
        assert (event["firstTimestamp"], event["lastTimestamp"]) == ("1970-01-01T00:16:40Z", "1970-01-01T00:16:40Z")


async def test_other_members_and_other_objects_are_other_series() -> None:
    async with running() as desk:
        for about in ("main-0", "main-1"):
            desk.tell(News("MemberRestarted", "again", about=about))
        desk.about["metadata"] = {**desk.about["metadata"], "uid": "u2"}
        desk.tell(News("MemberRestarted", "again", about="main-0"))
        await desk.until(lambda: desk.tried == 3)
        assert [one["count"] for one in await desk.events()] == [1, 1, 1]


async def test_a_silent_api_server_is_asked_again_later_and_by_one_write_only() -> None:
    async with running() as desk:
        desk.refusal = KubeUnavailable("away")
        desk.tell(FAILED, News("Readable", "served", warning=False))
        await desk.until(lambda: desk.tried == 1)
        desk.later(PACE.again_s - 1)
        await desk.quiet()
        assert desk.tried == 1
        desk.refusal = None
        desk.later(1)
        await desk.until(lambda: desk.tried == 3)
        assert len(await desk.events()) == 2


async def test_what_is_refused_is_given_up_and_said(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as desk:
        desk.refusal = KubeForbidden("no right to create events")
        desk.tell()
        await desk.until(lambda: desk.tried == 1)
        desk.later(1000.0)
        await desk.quiet()
        assert desk.tried == 1
        assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_telling_never_blocks_and_what_is_remembered_has_a_limit() -> None:
    desk = Desk()
    for number in range(SERIES_MOST + 10):
        desk.tell(News("MemberRestarted", "again", about=f"main-{number}"))
    assert len(desk.announcer._series) == SERIES_MOST


async def test_names_and_messages_fit() -> None:
    async with running() as desk:
        desk.about["metadata"]["name"] = "a" * 199 + "." + "b" * 53
        name = event_name(desk.about, FAILED)
        assert len(name) < 253
        desk.tell(News("Failed", "x" * 5000))
        await desk.until(lambda: desk.tried == 1)
        (event,) = await desk.events()
        assert (event["metadata"]["name"], len(event["message"])) == (name, MESSAGE_MOST)
