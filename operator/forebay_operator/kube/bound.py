"""A Kube with bounds: it writes only while the operator that has it may act, and sees one namespace only."""

from collections.abc import AsyncIterator, Callable, Mapping

from forebay_operator.kube.base import Event, Kube, Listing
from forebay_operator.model import Key, Kind, KubeUnavailable, Object


class BoundKube:
    """`may_act` is asked right before each write: tasks of an operator that slept through its lease may run on before they
    are cancelled. `namespace` stands for all namespaces; None: really all."""

    def __init__(self, kube: Kube, may_act: Callable[[], bool], namespace: str | None = None) -> None:
        self._kube, self._may_act, self._namespace = kube, may_act, namespace

    async def get(self, key: Key, *, live: bool = False) -> Object:
        return await self._kube.get(key, live=live)

    async def list(self, kind: Kind, namespace: str | None = None, labels: Mapping[str, str] | None = None) -> Listing:
        return await self._kube.list(kind, namespace or self._namespace, labels)

    def watch(
        self,
        kind: Kind,
        resource_version: str,
        namespace: str | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        bookmarks: bool = False,
    ) -> AsyncIterator[Event]:
        place = namespace or self._namespace
        return self._kube.watch(kind, resource_version, place, labels=labels, bookmarks=bookmarks)

    async def apply(self, body: Object, *, manager: str, force: bool = False) -> Object:
        self._check()
        return await self._kube.apply(body, manager=manager, force=force)

    async def apply_status(self, body: Object, *, manager: str, force: bool = False) -> Object:
        self._check()
        return await self._kube.apply_status(body, manager=manager, force=force)

    async def create(self, body: Object) -> Object:
        self._check()
        return await self._kube.create(body)

    async def delete(self, key: Key, *, uid: str | None = None, resource_version: str | None = None) -> None:
        self._check()
        await self._kube.delete(key, uid=uid, resource_version=resource_version)

    async def aclose(self) -> None:
        """What it is built on belongs to others."""

    def _check(self) -> None:
        if not self._may_act():
            raise KubeUnavailable("this operator does not hold the lease, so it writes nothing")
