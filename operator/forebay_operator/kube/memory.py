"""A dictionary that answers like the API server. `forebay up` runs on it, and tests do.

It has what `base.Kube` promises, no more: every behaviour here passed its check in tests/conformance/kube on the real
server first. What it lacks: HTTP and kubectl, admission, access control, quotas, namespaces (any name does), defaults
and validation of the kinds of Kubernetes (only CacheCluster and Dataset are checked and defaulted, by
`api.defaults`), immutable fields of StatefulSets, Services and Pods, controllers and garbage collection (`runtime`
plays those), grace periods, conversion between versions.

With a journal every accepted object is on disk before anyone sees it. One event loop, no threads.
"""

import asyncio
import base64
import copy
import re
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from forebay_operator.api import defaults
from forebay_operator.kube import merge
from forebay_operator.kube.base import Event, Listing
from forebay_operator.model import (
    CACHE_CLUSTER,
    DATASET,
    FIELD_MANAGER,
    GROUP,
    POD,
    SECRET,
    SERVICE,
    STATEFUL_SET,
    Key,
    Kind,
    KubeConflict,
    KubeExists,
    KubeExpired,
    KubeInvalid,
    KubeNotFound,
    KubeUnavailable,
    Object,
    key_of,
)

WITH_STATUS = frozenset({CACHE_CLUSTER, DATASET, STATEFUL_SET, SERVICE, POD})
WITH_GENERATION = frozenset({CACHE_CLUSTER, DATASET, STATEFUL_SET, POD})
BOOKMARK_S = 60.0
NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")

Body = dict[str, Any]
Fault = Callable[[str, Key], None]
"""Called with "get", "list", "watch", "apply", "apply_status", "create" or "delete" before the call has any effect, and
with "accepted" after a write; what it raises reaches the caller."""


class Durable(Protocol):
    """Where accepted objects are kept; `kube.journal` writes them to a disk."""

    def load(self) -> tuple[int, list[Body]]:
        """The newest version and every object there is."""
        ...

    def record(self, version: int, key: Key, obj: Object | None) -> None:
        """Keeps one write, or forgets an object; returns when it is safe."""
        ...


def no_fault(verb: str, key: Key) -> None:
    """Everything works."""


class MemoryKube:
    """`history`: how many events a watch may be behind before it must list again."""

    def __init__(
        self,
        *,
        now: Callable[[], float] = time.time,
        durable: Durable | None = None,
        history: int = 1000,
        fault: Fault = no_fault,
    ) -> None:
        self._now, self._durable, self.fault = now, durable, fault
        self._version, objects = durable.load() if durable else (0, [])
        self._objects: dict[Key, Body] = {key_of(obj): obj for obj in objects}
        self._changes: deque[Change] = deque(maxlen=history)
        self._forgotten = self._version
        self._changed = asyncio.Event()
        self._closed = False

    async def get(self, key: Key, *, live: bool = False) -> Object:
        self._enter("get", key)
        return copy.deepcopy(self._stored(key))

    async def list(self, kind: Kind, namespace: str | None = None, labels: Mapping[str, str] | None = None) -> Listing:
        self._enter("list", Key(kind, namespace or "", ""))
        found = [
            copy.deepcopy(obj)
            for key, obj in sorted(self._objects.items(), key=lambda item: item[0])
            if key.kind == kind and namespace in (None, key.namespace) and has_labels(obj, labels or {})
        ]
        return Listing(found, str(self._version))

    async def watch(
        self,
        kind: Kind,
        resource_version: str,
        namespace: str | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        bookmarks: bool = False,
    ) -> AsyncIterator[Event]:
        self._enter("watch", Key(kind, namespace or "", ""))
        seen, quiet = int(resource_version), True
        while not self._closed:
            changed = self._changed
            for change in self._since(seen):
                seen = change.version
                event = change.seen_through(labels or {})
                if event and change.key.kind == kind and namespace in (None, change.key.namespace):
                    yield Event(event.type, copy.deepcopy(event.object))
            if bookmarks and quiet:
                yield Event("BOOKMARK", bookmark(kind, seen))
            quiet = not await set_within(changed, BOOKMARK_S)

    async def apply(self, body: Object, *, manager: str, force: bool = False) -> Object:
        key = named(body)
        self._enter("apply", key)
        live = self._objects.get(key)
        require_version(key, live, body.get("metadata", {}))
        refuse_given(key, body, "managedFields")
        want = {name: value for name, value in body.items() if name != "status" or key.kind not in WITH_STATUS}
        return self._apply(key, live, want, (manager, "Apply", ""), force=force)

    async def apply_status(self, body: Object, *, manager: str, force: bool = False) -> Object:
        key = named(body)
        self._enter("apply_status", key)
        if key.kind not in WITH_STATUS:
            raise KubeNotFound(f"{key.kind.kind} has no status subresource")
        live = self._stored(key)
        require_version(key, live, body.get("metadata", {}))
        want = {name: body[name] for name in ("apiVersion", "kind", "status") if name in body}
        return self._apply(key, live, want, (manager, "Apply", "status"), force=force)

    async def create(self, body: Object) -> Object:
        metadata = dict(body.get("metadata", {}))
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + uuid.uuid4().hex[:5]
        new: Body = copy.deepcopy({**body, "metadata": metadata})
        key = named(new)
        self._enter("create", key)
        refuse_given(key, body, "resourceVersion")
        if key in self._objects:
            raise KubeExists(f"{key} is there already")
        if key.kind in WITH_STATUS:
            new.pop("status", None)
        new["metadata"] = own_metadata(new, None)
        return self._accept(key, None, new, {(FIELD_MANAGER, "Update", ""): merge.owned(new)})

    async def delete(self, key: Key, *, uid: str | None = None, resource_version: str | None = None) -> None:
        self._enter("delete", key)
        live = self._stored(key)
        require_version(key, live, {"uid": uid, "resourceVersion": resource_version})
        if not live["metadata"].get("finalizers"):
            self._remove(key, live)
        elif "deletionTimestamp" not in live["metadata"]:
            marks = {"deletionTimestamp": self._time(), "deletionGracePeriodSeconds": 0}
            self._store(key, {**live, "metadata": {**live["metadata"], **marks}})
        self.fault("accepted", key)

    async def aclose(self) -> None:
        self._closed = True
        self._wake()

    def _enter(self, verb: str, key: Key) -> None:
        if self._closed:
            raise KubeUnavailable("closed")
        self.fault(verb, key)

    def _stored(self, key: Key) -> Body:
        if key not in self._objects:
            raise KubeNotFound(f"{key} not found")
        return self._objects[key]

    def _apply(self, key: Key, live: Body | None, want: Body, me: "Manager", *, force: bool) -> Object:
        """Merge, conflicts, fields given up: the order of the API server's Updater.Apply."""
        want = copy.deepcopy(want)
        managers = managers_of(live or {})
        before = managers.get(me, frozenset())
        managers[me] = merge.owned(want)
        new: Body = merge.merged(live or {}, {**want, "metadata": own_metadata(want, live)})
        new = merge.without(new, merge.given_up(before, managers.values()))
        touched = merge.changed(live or {}, new)
        conflicts = {who: paths & touched for who, paths in managers.items() if who != me and paths & touched}
        if conflicts and not force:
            raise KubeConflict(conflict_message(conflicts))
        remain = {who: paths - conflicts.get(who, frozenset()) for who, paths in managers.items()}
        return self._accept(key, live, new, remain)

    def _accept(self, key: Key, live: Body | None, new: Body, managers: "Managers") -> Object:
        """Checks, defaults, stamps and stores; the same object again is no write."""
        new, errors = checked(key.kind, live, new)
        if errors:
            raise KubeInvalid(f"{key.kind.kind}.{GROUP} {key.name!r} is invalid: " + "; ".join(map(str, errors)))
        present = frozenset(merge.leaves(new))
        managers = {who: paths & present for who, paths in managers.items()}
        metadata = {**new["metadata"], "managedFields": self._managed_fields(live or {}, managers, key)}
        if live is None:
            metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": self._time()}
        if key.kind in WITH_GENERATION:
            metadata["generation"] = generation(live, new)
        new = {**new, "metadata": metadata}
        if new == live:
            return copy.deepcopy(live)
        stored = self._store(key, new)
        if stored["metadata"].get("deletionTimestamp") and not stored["metadata"].get("finalizers"):
            self._remove(key, stored)
        self.fault("accepted", key)
        return copy.deepcopy(stored)

    def _managed_fields(self, live: Body, managers: "Managers", key: Key) -> "Bodies":
        """managedFields of `managers`; an entry that did not change keeps its time."""
        entries = []
        known = {manager_of(entry): entry for entry in live.get("metadata", {}).get("managedFields", ())}
        for (name, operation, subresource), paths in managers.items():
            fields = merge.to_fields_v1(paths)
            old = known.get((name, operation, subresource))
            if old is not None and old["fieldsV1"] == fields:
                entries.append(old)
            elif fields:
                where = {"subresource": subresource} if subresource else {}
                what = {"apiVersion": key.kind.api_version, "fieldsType": "FieldsV1", "fieldsV1": fields}
                entries.append({"manager": name, "operation": operation, "time": self._time(), **where, **what})
        return entries

    def _store(self, key: Key, obj: Body) -> Body:
        """Gives the object its version, makes it durable, then lets watches see it."""
        version = self._version + 1
        obj = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(version)}}
        if self._durable:
            self._durable.record(version, key, obj)
        self._version = version
        change = Change(version, key, self._objects.get(key), obj)
        self._objects[key] = obj
        self._publish(change)
        return obj

    def _remove(self, key: Key, live: Body) -> None:
        version = self._version + 1
        if self._durable:
            self._durable.record(version, key, None)
        self._version = version
        del self._objects[key]
        self._publish(Change(version, key, live, None))

    def _publish(self, change: "Change") -> None:
        if len(self._changes) == self._changes.maxlen:
            self._forgotten = self._changes[0].version
        self._changes.append(change)
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _since(self, version: int) -> "Changes":
        if version < self._forgotten or version > self._version:
            raise KubeExpired(f"version {version} is not between {self._forgotten} and {self._version}: list again")
        return [change for change in self._changes if change.version > version]

    def _time(self) -> str:
        return datetime.fromtimestamp(int(self._now()), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class Change:
    """One write: the object before and after it."""

    version: int
    key: Key
    before: Body | None
    after: Body | None

    def seen_through(self, labels: Mapping[str, str]) -> Event | None:
        """What a watch of objects with `labels` makes of it."""
        was, now = (one if one and has_labels(one, labels) else None for one in (self.before, self.after))
        if now:
            return Event("MODIFIED" if was else "ADDED", now)
        return (
            Event("DELETED", {**was, "metadata": {**was["metadata"], "resourceVersion": str(self.version)}})
            if was
            else None
        )


def bookmark(kind: Kind, version: int) -> Object:
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"resourceVersion": str(version)}}


async def set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False


Bodies = list[Body]
Changes = list[Change]
Manager = tuple[str, str, str]
"""Name, operation (Apply or Update) and subresource."""
Managers = dict[Manager, merge.Paths]


def named(body: Object) -> Key:
    """The object's key. Raises KubeInvalid for a name that no object may have, BadManifest for an unknown kind."""
    key = key_of(body)
    if len(key.name) > 253 or not NAME.fullmatch(key.name):
        raise KubeInvalid(f"{key}: metadata.name: {key.name!r} is not a lowercase RFC 1123 subdomain")
    return key


def has_labels(obj: Object, labels: Mapping[str, str]) -> bool:
    has: Mapping[str, str] = obj["metadata"].get("labels", {})
    return labels.items() <= has.items()


def require_version(key: Key, live: Object | None, metadata: Mapping[str, Any]) -> None:
    """Raises KubeConflict where `metadata` names another version or another object than `live`.

    As the server, it lets a version pass where there is no object: only a uid keeps an apply from making it again.
    """
    have = (live or {}).get("metadata", {})
    for field in ("uid", "resourceVersion") if live else ("uid",):
        if metadata.get(field) and metadata[field] != have.get(field):
            raise KubeConflict(f"{key}: {field} is {have.get(field)}, not {metadata[field]}: read it again")


def refuse_given(key: Key, body: Object, field: str) -> None:
    if body.get("metadata", {}).get(field):
        raise KubeInvalid(f"{key}: metadata.{field} must not be given here: it is the server's")


def own_metadata(want: Object, live: Object | None) -> Body:
    """What an apply may say of metadata: the server's own fields come from `live`."""
    said = {name: value for name, value in want.get("metadata", {}).items() if name not in merge.UNOWNED}
    if live is None:
        key = key_of(want)
        return {"name": key.name, "namespace": key.namespace, **said}
    return said


def manager_of(entry: Mapping[str, Any]) -> Manager:
    return entry["manager"], entry["operation"], entry.get("subresource", "")


def managers_of(obj: Object) -> Managers:
    entries = obj.get("metadata", {}).get("managedFields", ())
    return {manager_of(entry): merge.from_fields_v1(entry["fieldsV1"]) for entry in entries}


def conflict_message(conflicts: Managers) -> str:
    count = sum(map(len, conflicts.values()))
    told = [
        f'conflict with "{who[0]}": {merge.spelled(path)}' for who, paths in conflicts.items() for path in sorted(paths)
    ]
    return f"Apply failed with {count} conflict{'s' if count > 1 else ''}: " + ", ".join(told)


def checked(kind: Kind, old: Object | None, new: Body) -> tuple[Body, list[defaults.FieldError]]:
    """What the server makes of an object before it stores it, and what it objects to."""
    if kind in (CACHE_CLUSTER, DATASET):
        return defaults.checked(kind.kind, old, new)
    if kind == SECRET and "stringData" in new:
        data = {name: base64.b64encode(text.encode()).decode() for name, text in new["stringData"].items()}
        new = {**new, "data": {**new.get("data", {}), **data}}
        del new["stringData"]
    return new, []


def generation(live: Object | None, new: Object) -> int:
    """Counts changes of what a user wants: everything but metadata and status."""
    if live is None:
        return 1
    apart = ("metadata", "status")
    same = all(live.get(name) == new.get(name) for name in live.keys() | new.keys() if name not in apart)
    return int(live["metadata"]["generation"]) + (not same)
