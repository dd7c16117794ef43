"""A Kube that answers reads from memory: a look at a world that did not change asks the API server nothing.

Chosen kinds are followed by one watch each (`kube.feed`); everything else passes through. What we write can be read at
once: a write's answer goes into memory, a delete is over when the watch has told of it.
"""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from forebay_operator.kube.base import Event, Kube, Listing
from forebay_operator.kube.feed import Feed, Patience, slim
from forebay_operator.model import Key, Kind, KubeNotFound, Object, key_of

ASIDE_S = 300.0
"""How old a copy of an object may be that no watch tells of."""
ASIDE_MOST = 1000
Listener = Callable[[Event], None]
Count = Callable[[str, Kind, str], None]
"""Hears of each write: verb, kind, and whether it was accepted or failed."""


class CachedKube:
    """`kinds`: what to follow, by labels that objects must have (none: all of the kind). `now` is monotonic.

    `run` follows until cancelled; reads of a followed kind wait until it has listed it. Objects of a followed kind without
    its labels are read one by one, and such a copy is used for ASIDE_S: `get(live=True)` where that is too old.
    """

    def __init__(
        self,
        kube: Kube,
        kinds: Mapping[Kind, Mapping[str, str]],
        now: Callable[[], float],
        count: Count = lambda *_: None,
        patience: Patience = Patience(),
    ) -> None:
        self._kube, self._now, self._count = kube, now, count
        self._listeners: list[Listener] = []
        self._feeds = {kind: Feed(kind, labels, self._tell, now, patience) for kind, labels in kinds.items()}
        self._aside: dict[Key, tuple[float, Object]] = {}

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for feed in self._feeds.values():
                group.create_task(feed.follow(self._kube))

    def listen(self, listener: Listener) -> None:
        """Called with every change of what is followed, once, after it can be read here; own writes too. No bookmarks."""
        self._listeners.append(listener)

    @property
    def silent_s(self) -> float:
        """Seconds since the watch that was silent longest said anything: over a few minutes the watches are dead."""
        return max(self.silence.values(), default=0.0)

    @property
    def silence(self) -> Mapping[Kind, float]:
        """Seconds since each watch said anything."""
        return {kind: self._now() - feed.heard for kind, feed in self._feeds.items()}

    @property
    def unlisted(self) -> Sequence[Kind]:
        """What cannot be read yet."""
        return [kind for kind, feed in self._feeds.items() if not feed.is_listed]

    async def get(self, key: Key, *, live: bool = False) -> Object:
        feed = self._feeds.get(key.kind)
        if feed is None or live:
            return await self._kube.get(key, live=live)
        await feed.listed()
        found = feed.get(key.namespace, key.name)
        if found is None and feed.labels:
            return await self._unfollowed(key)
        if found is None:
            raise KubeNotFound(f"{key} not found")
        return found

    async def list(self, kind: Kind, namespace: str | None = None, labels: Mapping[str, str] | None = None) -> Listing:
        """Objects may be newer than the listing's version: those we wrote."""
        feed = self._feeds.get(kind)
        if feed is None or not feed.labels.items() <= (labels or {}).items():
            return await self._kube.list(kind, namespace, labels)
        await feed.listed()
        return Listing(feed.select(namespace, labels or {}), str(feed.reached))

    def watch(
        self,
        kind: Kind,
        resource_version: str,
        namespace: str | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        bookmarks: bool = False,
    ) -> AsyncIterator[Event]:
        return self._kube.watch(kind, resource_version, namespace, labels=labels, bookmarks=bookmarks)

    async def apply(self, body: Object, *, manager: str, force: bool = False) -> Object:
        with self._counted("apply", key_of(body).kind):
            written = await self._kube.apply(body, manager=manager, force=force)
        return self._wrote(written)

    async def apply_status(self, body: Object, *, manager: str, force: bool = False) -> Object:
        with self._counted("apply_status", key_of(body).kind):
            written = await self._kube.apply_status(body, manager=manager, force=force)
        return self._wrote(written)

    async def create(self, body: Object) -> Object:
        with self._counted("create", key_of(body).kind):
            written = await self._kube.create(body)
        return self._wrote(written)

    async def delete(self, key: Key, *, uid: str | None = None, resource_version: str | None = None) -> None:
        feed = self._feeds.get(key.kind)
        before = feed.get(key.namespace, key.name) if feed else None
        with self._counted("delete", key.kind):
            await self._kube.delete(key, uid=uid, resource_version=resource_version)
        self._aside.pop(key, None)
        if feed and before:
            await feed.deleted(key, before["metadata"]["uid"])

    async def aclose(self) -> None:
        await self._kube.aclose()

    @contextmanager
    def _counted(self, verb: str, kind: Kind) -> Iterator[None]:
        result = "failed"
        try:
            yield
            result = "accepted"
        finally:
            self._count(verb, kind, result)

    def _wrote(self, one: Object) -> Object:
        key = key_of(one)
        self._aside.pop(key, None)
        if key.kind in self._feeds:
            self._feeds[key.kind].wrote(copy.deepcopy(one))
        return one

    async def _unfollowed(self, key: Key) -> Object:
        read_at, one = self._aside.get(key, (None, None))
        if one is not None and read_at is not None and self._now() - read_at < ASIDE_S:
            return one
        self._aside.pop(key, None)
        found = slim(await self._kube.get(key))
        if len(self._aside) >= ASIDE_MOST:
            del self._aside[next(iter(self._aside))]
        self._aside[key] = self._now(), found
        return found

    def _tell(self, event: Event) -> None:
        for listener in self._listeners:
            listener(event)
