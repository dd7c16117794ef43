"""One kind in memory: what a watch tells, what our own writes returned, and a watch that dies."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.rigs import objects

from forebay_operator.kube.base import Event, Listing
from forebay_operator.kube.feed import LAST_APPLIED, Feed, Patience, slim
from forebay_operator.model import CONFIG_MAP, FIELD_MANAGER, KubeExpired, KubeForbidden, KubeUnavailable, key_of

LABELS = {"app": "ours"}
NOW = 1000.0


def one(version: int, name: str = "a", **metadata: Any) -> Any:
    body = objects.config_map("n", name, text=str(version))
    extra = {"resourceVersion": str(version), "uid": f"uid-{name}", "labels": LABELS, **metadata}
    return {**body, "metadata": {**body["metadata"], **extra}}


@dataclass
class Script:
    """An API server that says what it is told to: one listing each time, then the events put into `events`."""

    listings: list[Listing | Exception]
    events: asyncio.Queue[Event | Exception] = field(default_factory=asyncio.Queue)
    watched: list[str] = field(default_factory=list)

    async def list(self, kind: object, namespace: str | None = None, labels: Any = None) -> Listing:
        assert labels == LABELS
        answer = self.listings.pop(0) if len(self.listings) > 1 else self.listings[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def watch(self, kind: object, resource_version: str, **how: Any) -> AsyncIterator[Event]:
        assert how == {"labels": LABELS, "bookmarks": True}
        self.watched.append(resource_version)
        while True:
            event = await self.events.get()
            if isinstance(event, Exception):
                raise event
            yield event


@dataclass
class Told:
    feed: Feed
    events: list[tuple[str, str]]

    async def until(self, *events: tuple[str, str]) -> None:
        async with asyncio.timeout(10):
            while self.events != list(events):
                assert self.events == list(events)[: len(self.events)]
                await asyncio.sleep(0)

    def text(self, name: str = "a") -> str | None:
        found = self.feed.get("n", name)
        return found["data"]["text"] if found else None


def fresh(patience: Patience = Patience()) -> Told:
    events: list[tuple[str, str]] = []

    def tell(event: Event) -> None:
        assert (feed.get("n", event.object["metadata"]["name"]) is None) is (event.type == "DELETED")
        events.append((event.type, event.object["metadata"]["name"]))

    feed = Feed(CONFIG_MAP, LABELS, tell, lambda: NOW, patience)
    return Told(feed, events)


@asynccontextmanager
async def following(script: Script, patience: Patience = Patience()) -> AsyncIterator[Told]:
    told = fresh(patience)
    task = asyncio.create_task(told.feed.follow(script))  # type: ignore[arg-type]
    try:
        yield told
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_listing_and_its_watch_are_read_and_told_once() -> None:
    script = Script([Listing([one(3), one(4, "b")], "5")])
    async with following(script) as told:
        await told.feed.listed()
        assert [found["metadata"]["name"] for found in told.feed.select(None, {})] == ["a", "b"]
        for event in (Event("MODIFIED", one(6)), Event("DELETED", one(7, "b")), Event("ADDED", one(8, "c"))):
            script.events.put_nowait(event)
        await told.until(("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b"), ("ADDED", "c"))
        assert (told.text(), told.feed.reached, script.watched) == ("6", 8, ["5"])


async def test_what_expired_is_listed_anew_and_what_went_meanwhile_is_told() -> None:
    script = Script([Listing([one(3), one(4, "b")], "5"), Listing([one(3), one(9, "c")], "9")])
    async with following(script) as told:
        script.events.put_nowait(KubeExpired("too old"))
        await told.until(("ADDED", "a"), ("ADDED", "b"), ("DELETED", "b"), ("ADDED", "c"))
        assert told.feed.reached == 9


async def test_trouble_is_said_to_whoever_waits(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="forebay.watch")
    async with following(Script([KubeForbidden("no right to list")]), Patience(listed_s=0.01)) as told:
        with pytest.raises(KubeUnavailable, match=r"configmaps not listed within 0.01 s: no right to list"):
            await told.feed.listed()


async def test_a_silent_watch_is_begun_anew(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="forebay.watch")
    script = Script([Listing([], "5"), Listing([one(6)], "6")])
    async with following(script, Patience(silence_s=0.01)) as told:
        await told.until(("ADDED", "a"))


async def test_an_api_server_restored_from_a_backup_is_believed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="forebay.watch")
    script = Script([Listing([one(80), one(90, "b")], "95"), Listing([one(70)], "72")])
    async with following(script) as told:
        script.events.put_nowait(KubeExpired("from the future"))
        await told.until(("ADDED", "a"), ("ADDED", "b"), ("DELETED", "a"), ("DELETED", "b"), ("ADDED", "a"))
        script.events.put_nowait(Event("MODIFIED", one(73)))
        await told.until(*told.events, ("MODIFIED", "a"))
        assert (told.text(), told.feed.reached) == ("73", 73)


async def test_an_older_event_does_not_undo_a_write() -> None:
    script = Script([Listing([one(3)], "5")])
    async with following(script) as told:
        await told.feed.listed()
        told.feed.wrote(one(8))
        assert told.text() == "8"
        for event in (Event("MODIFIED", one(7)), Event("MODIFIED", one(8)), Event("ADDED", one(9, "b"))):
            script.events.put_nowait(event)
        await told.until(("ADDED", "a"), ("MODIFIED", "a"), ("ADDED", "b"))
        assert told.text() == "8"


def test_a_write_that_changed_nothing_is_not_told_again() -> None:
    told = fresh()
    told.feed.wrote(one(8))
    told.feed.wrote(one(8))
    assert told.events == [("ADDED", "a")]


async def test_the_late_answer_of_a_write_does_not_bring_back_what_is_gone() -> None:
    script = Script([Listing([], "5")])
    async with following(script) as told:
        for event in (Event("ADDED", one(8)), Event("DELETED", one(9))):
            script.events.put_nowait(event)
        await told.until(("ADDED", "a"), ("DELETED", "a"))
        told.feed.wrote(one(8))
        assert told.text() is None


def test_a_write_without_the_labels_is_not_seen() -> None:
    told = fresh()
    told.feed.wrote(one(8, labels={}))
    assert told.events == []


def test_a_write_that_took_the_last_finalizer_away_is_the_end() -> None:
    told = fresh()
    told.feed.wrote(one(8))
    told.feed.wrote(one(9, deletionTimestamp="now", finalizers=["theirs"]))
    assert told.text() == "9"
    told.feed.wrote(one(10, deletionTimestamp="now"))
    assert told.events == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]


async def test_a_delete_is_over_when_the_watch_says_so() -> None:
    script = Script([Listing([one(3)], "5")])
    async with following(script) as told:
        await told.feed.listed()
        waiting = asyncio.create_task(told.feed.deleted(key_of(one(3)), "uid-a"))
        await asyncio.sleep(0)
        assert not waiting.done()
        script.events.put_nowait(Event("DELETED", one(6)))
        await waiting
        assert told.text() is None


async def test_deletes_that_nobody_tells_of_mean_a_dead_watch(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="forebay.watch")
    script = Script([Listing([one(3), one(4, "b")], "5"), Listing([], "9")])
    async with following(script, Patience(written_s=0.01)) as told:
        await told.feed.listed()
        deletes = (told.feed.deleted(key_of(gone), gone["metadata"]["uid"]) for gone in (one(3), one(4, "b")))
        await asyncio.gather(*deletes)
        await told.feed.listed()
        assert told.feed.select(None, {}) == []
        assert script.watched[:2] == ["5", "9"]


def test_a_slim_object_lacks_what_nobody_reads() -> None:
    ours = {"manager": FIELD_MANAGER, "operation": "Apply"}
    notes = {LAST_APPLIED: "{}", "note": "mine"}
    made = one(3, managedFields=[ours, {"manager": "kubectl", "operation": "Update"}], annotations=notes)
    thin = slim(made)["metadata"]
    assert (thin["managedFields"], thin["annotations"]) == ([ours], {"note": "mine"})
    assert made["metadata"]["annotations"] == notes, "what was given is left alone"
