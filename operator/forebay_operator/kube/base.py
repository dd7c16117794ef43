"""What the operator needs of an API server. Conformance checks: tests/conformance/kube."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from forebay_operator.model import Key, Kind, Object


@dataclass(frozen=True, slots=True)
class Listing:
    """All objects at one moment; `resource_version` is where a watch goes on."""

    items: Sequence[Object]
    resource_version: str


@dataclass(frozen=True, slots=True)
class Event:
    """BOOKMARK, only where it was asked for: the watch lives, and has told everything up to its object's version."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    object: Object


class Kube(Protocol):
    """Errors are those of `model`: KubeNotFound, KubeConflict, KubeExists, KubeInvalid, KubeForbidden, KubeExpired,
    KubeUnavailable. Every call has a deadline of its own. What a write returns belongs to the caller; what a read returns
    may be shared with others: never change it."""

    async def get(self, key: Key, *, live: bool = False) -> Object:
        """`live`: from the API server itself, not from a cache in between."""
        ...

    async def list(self, kind: Kind, namespace: str | None = None, labels: Mapping[str, str] | None = None) -> Listing:
        """`labels`: all must be equal. `namespace` None: all namespaces."""
        ...

    def watch(
        self,
        kind: Kind,
        resource_version: str,
        namespace: str | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        bookmarks: bool = False,
    ) -> AsyncIterator[Event]:
        """Events after `resource_version`, until closed or KubeExpired; a dropped connection is resumed inside.

        `labels`: an object that comes to have them is ADDED, one that no longer has them DELETED (as it last was with
        them). `bookmarks`: also a BOOKMARK when it begins and every minute or two, so that silence means it is dead.
        """
        ...

    async def apply(self, body: Object, *, manager: str, force: bool = False) -> Object:
        """Server-side apply of the main resource: creates, or sets exactly the fields of `body` and removes those that
        `manager` applied before and left out. With metadata.resourceVersion in `body`: only onto that version, else
        KubeConflict; where there is no object a version does not keep it from being made, a metadata.uid does.
        `force` takes fields over from other managers. Status in `body` is ignored where status is a subresource."""
        ...

    async def apply_status(self, body: Object, *, manager: str, force: bool = False) -> Object:
        """The same for the status subresource; everything but status is ignored, and the object must exist."""
        ...

    async def create(self, body: Object) -> Object:
        """Raises KubeExists. metadata.generateName is honoured."""
        ...

    async def delete(self, key: Key, *, uid: str | None = None, resource_version: str | None = None) -> None:
        """Preconditions raise KubeConflict. Dependents go in the background. Absent: KubeNotFound."""
        ...

    async def aclose(self) -> None: ...
