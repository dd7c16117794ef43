"""The objects of one kind in memory, as a watch tells of them. `kube.cache` reads from it."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from forebay_operator.kube.base import Event, Kube
from forebay_operator.model import Key, Kind, KubeExpired, KubeUnavailable, Object, OperatorError, key_of
from forebay_operator.names import is_ours

AGAIN_S = 1.0
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
log = logging.getLogger("forebay.watch")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, in seconds: for the first listing; for a watch to say anything, bookmarks too (the API server
    sends one a minute); for what we wrote to come back."""

    listed_s: float = 30.0
    silence_s: float = 180.0
    written_s: float = 5.0


class Feed:
    """One kind, listed once and then watched. `tell` hears of every change once, after it can be read here.

    Objects that lack `labels` are not there. `now` is monotonic.
    """

    def __init__(
        self,
        kind: Kind,
        labels: Mapping[str, str],
        tell: Callable[[Event], None],
        now: Callable[[], float],
        patience: Patience,
    ) -> None:
        self.kind, self.labels = kind, labels
        self.reached = 0
        """Everything up to this version has been told."""
        self.heard = now()
        self._tell, self._now, self._patience = tell, now, patience
        self._objects: dict[str, dict[str, Object]] = {}
        self._listed, self._changed = asyncio.Event(), asyncio.Event()
        self._limit: asyncio.Timeout | None = None
        self._trouble = "the API server did not answer yet"

    async def follow(self, kube: Kube) -> None:
        """Until cancelled. A watch that ends, expires or falls silent is begun anew by a listing, so nothing is lost."""
        while True:
            try:
                await self._list(kube)
                await self._watch(kube)
            except KubeExpired:
                continue
            except TimeoutError:
                log.warning("watch is dead, beginning anew", extra={"kind": self.kind.kind})
                continue
            except OperatorError as exc:
                self._trouble = str(exc)
                log.warning("watch failed", extra={"kind": self.kind.kind, "reason": self._trouble})
            await asyncio.sleep(AGAIN_S)

    @property
    def is_listed(self) -> bool:
        return self._listed.is_set()

    async def listed(self) -> None:
        """Returns once there is something to read. Raises KubeUnavailable when that takes too long."""
        if self._listed.is_set():
            return
        try:
            async with asyncio.timeout(self._patience.listed_s):
                await self._listed.wait()
        except TimeoutError as exc:
            raise KubeUnavailable(
                f"{self.kind.plural} not listed within {self._patience.listed_s:g} s: {self._trouble}"
            ) from exc

    def get(self, namespace: str, name: str) -> Object | None:
        return self._objects.get(namespace, {}).get(name)

    def select(self, namespace: str | None, labels: Mapping[str, str]) -> Sequence[Object]:
        """Sorted by namespace and name."""
        places = sorted(self._objects) if namespace is None else [namespace]
        found = (one for place in places for _, one in sorted(self._objects.get(place, {}).items()))
        return [one for one in found if has_labels(one, labels)]

    def wrote(self, one: Object) -> None:
        """A write of ours returned this object: it can be read at once. What the watch has told is newer or the same."""
        old = self._same_name(one)
        if is_last(one):
            if old and old["metadata"]["uid"] == one["metadata"]["uid"]:
                self._drop(one)
        elif version_of(one) > self.reached and has_labels(one, self.labels):
            self._newer(one)

    async def deleted(self, key: Key, uid: str | None) -> None:
        """A delete of ours was accepted: returns once that can be seen here. If it does not come, the watch is dead."""
        try:
            async with asyncio.timeout(self._patience.written_s):
                while self._lives(key, uid):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            self._listed.clear()
            if self._limit and not self._limit.expired():
                self._limit.reschedule(0.0)  # in the past: it ends now

    def _lives(self, key: Key, uid: str | None) -> bool:
        metadata = (self.get(key.namespace, key.name) or {}).get("metadata", {})
        return bool(metadata) and metadata["uid"] == uid and "deletionTimestamp" not in metadata

    async def _list(self, kube: Kube) -> None:
        listing = await kube.list(self.kind, labels=self.labels or None)
        version = int(listing.resource_version)
        if version < self.reached:
            self._forget()
        there = {key_of(one) for one in listing.items}
        for one in [one for one in self._all() if key_of(one) not in there and version_of(one) <= version]:
            self._drop(one)
        for one in listing.items:
            self._newer(one)
        self._hear(version)
        self._listed.set()

    def _forget(self) -> None:
        """The API server was restored from a backup: what was told since is not so any more."""
        log.warning("the API server went back in time", extra={"kind": self.kind.kind})
        self.reached = 0
        for one in list(self._all()):
            self._drop(one)

    async def _watch(self, kube: Kube) -> None:
        watch = kube.watch(self.kind, str(self.reached), labels=self.labels or None, bookmarks=True)
        silence_s, loop = self._patience.silence_s, asyncio.get_running_loop()
        try:
            async with asyncio.timeout(silence_s) as self._limit:
                async for event in watch:
                    self._take(event)
                    self._limit.reschedule(loop.time() + silence_s)
        finally:
            self._limit = None

    def _take(self, event: Event) -> None:
        if event.type == "DELETED":
            self._gone(event.object)
        elif event.type != "BOOKMARK":
            self._newer(event.object)
        self._hear(version_of(event.object))

    def _hear(self, version: int) -> None:
        self.reached, self.heard = max(self.reached, version), self._now()

    def _newer(self, one: Object) -> None:
        """An event may be older than what a write of ours returned."""
        old = self._same_name(one)
        if old is None or version_of(one) > version_of(old):
            self._put(slim(one))

    def _gone(self, one: Object) -> None:
        old = self._same_name(one)
        if old is not None and version_of(one) > version_of(old):
            self._drop(one)

    def _put(self, one: Object) -> None:
        change = Event("MODIFIED" if self._same_name(one) else "ADDED", one)
        self._objects.setdefault(one["metadata"].get("namespace", ""), {})[one["metadata"]["name"]] = one
        self._say(change)

    def _drop(self, one: Object) -> None:
        namespace = one["metadata"].get("namespace", "")
        del self._objects[namespace][one["metadata"]["name"]]
        if not self._objects[namespace]:
            del self._objects[namespace]
        self._say(Event("DELETED", one))

    def _say(self, event: Event) -> None:
        self._changed.set()
        self._tell(event)

    def _same_name(self, one: Object) -> Object | None:
        return self.get(one["metadata"].get("namespace", ""), one["metadata"]["name"])

    def _all(self) -> Iterator[Object]:
        return (one for place in self._objects.values() for one in place.values())


def has_labels(one: Object, labels: Mapping[str, str]) -> bool:
    has: Mapping[str, str] = one["metadata"].get("labels") or {}
    return labels.items() <= has.items()


def is_last(one: Object) -> bool:
    """Whether the write that returned this took the last finalizer away, and so the object."""
    metadata = one["metadata"]
    held = metadata.get("finalizers") or metadata.get("deletionGracePeriodSeconds")
    return "deletionTimestamp" in metadata and not held


def version_of(one: Object) -> int:
    """The API server promises that versions of one kind are numbers that grow (KEP-5504); older ones kept to it too."""
    return int(one["metadata"]["resourceVersion"])


def slim(one: Object) -> Object:
    """Without what nobody here reads, half of an object: fields managed by others, kubectl's copy of the manifest."""
    metadata = dict(one["metadata"])
    metadata["managedFields"] = [entry for entry in metadata.get("managedFields") or () if is_ours(entry)]
    notes: Mapping[str, str] = metadata.get("annotations") or {}
    if LAST_APPLIED in notes:
        metadata["annotations"] = {name: text for name, text in notes.items() if name != LAST_APPLIED}
    return {**one, "metadata": metadata}
