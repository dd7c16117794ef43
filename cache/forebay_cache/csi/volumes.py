"""Volumes on this node: which commit each shows, and where. Calls for one volume wait for each other.

A path is written down after it is mounted and crossed out before it is unmounted, so what is written down is never more than
what the kubelet counts on. The commit is written down before anything is mounted, so a call that was cut off finds the same.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from forebay_cache.contract.agent import MountRequest, ResolvedCommit, ResolveRequest, UnmountRequest
from forebay_cache.contract.volume import VolumeAttributes
from forebay_cache.csi.base import Agent, Limits
from forebay_cache.csi.records import Records, Volume
from forebay_cache.model.errors import MemberUnreachable, NotFound, VolumeBusy, VolumeConflict, VolumeNotStaged

T = TypeVar("T")
log = logging.getLogger("forebay.csi")


class Volumes:
    """Bound to one event loop. Besides what each call names, all raise VolumeBusy, AgentUnreachable, DeadlineExceeded."""

    def __init__(self, records: Records, agent: Agent, limits: Limits) -> None:
        self.records = records
        self.agent = agent
        self.limits = limits
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._tasks: set[asyncio.Future[Any]] = set()
        for volume in records.all():
            if (
                volume.boot_id != limits.boot_id
            ):  # its mounts ended with that boot; a kubelet that wants them asks again
                change = {"staged": (), "published": (), "idle_since": limits.now(), "boot_id": limits.boot_id}
                records.put(volume.model_copy(update=change))

    async def stage(self, volume_id: str, attributes: VolumeAttributes, path: str) -> None:
        """Raises VolumeConflict, NotFound, and what a mount is refused with."""
        await self.alone(volume_id, lambda: self._stage(volume_id, attributes, path))

    async def publish(self, volume_id: str, attributes: VolumeAttributes, staging: str, target: str) -> None:
        """Shows at `target` what is at `staging`. Raises VolumeNotStaged, VolumeConflict, and what a mount is refused with."""
        await self.alone(volume_id, lambda: self._publish(volume_id, attributes, staging, target))

    async def unstage(self, volume_id: str, path: str) -> None:
        """The directory stays: the kubelet made it. Raises MountFailed."""
        await self.alone(volume_id, lambda: self._take_down(volume_id, path, remove=False))

    async def unpublish(self, volume_id: str, path: str) -> None:
        """The directory goes. Raises MountFailed."""
        await self.alone(volume_id, lambda: self._take_down(volume_id, path, remove=True))

    def shown(self, volume_id: str, path: str) -> ResolvedCommit:
        """The commit at a path, with its counts. Raises NotFound."""
        volume = self.records.get(volume_id)
        if volume is None or path not in volume.paths:
            raise NotFound(f"volume {volume_id} is not at {path} on this node")
        return volume.resolved

    async def alone(self, volume_id: str, work: Callable[[], Awaitable[T]]) -> T:
        """Does `work` when nothing else is under way for the volume, and to its end, also when the caller is gone."""
        task = asyncio.ensure_future(self._locked(volume_id, work))
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Returns when nothing is under way any more."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def mount(self, volume: Volume, path: str) -> Volume:
        """Shows the volume's commit at a path, also again -> the volume, which another member may serve by now."""
        try:
            await self.agent.mount(_request(volume, path))
        except MemberUnreachable:
            resolved = await self._resolve(volume.attributes, volume.resolved.commit)
            if resolved.member_socket == volume.resolved.member_socket:
                raise
            volume = volume.model_copy(update={"resolved": resolved})
            await self.agent.mount(_request(volume, path))
        return volume

    async def _stage(self, volume_id: str, attributes: VolumeAttributes, path: str) -> None:
        volume = await self._remembered(volume_id, attributes)
        self.records.put(volume)
        volume = await self.mount(volume, path)
        self.records.put(volume.with_staged(path))
        log.info("staged", extra={"volume": volume_id, "dataset": attributes.dataset, "commit": volume.resolved.commit})

    async def _publish(self, volume_id: str, attributes: VolumeAttributes, staging: str, target: str) -> None:
        volume = self.records.get(volume_id)
        if volume is None or staging not in volume.staged:
            raise VolumeNotStaged(
                f"volume {volume_id} is not staged at {staging} on this node; the kubelet stages it when the pods that use it "
                "here are deleted and made again"
            )
        _check_same(volume, attributes)
        volume = await self.mount(volume, target)
        self.records.put(volume.with_published(target))
        log.info("published", extra={"volume": volume_id, "target": target, "commit": volume.resolved.commit})

    async def _take_down(self, volume_id: str, path: str, *, remove: bool) -> None:
        volume = self.records.get(volume_id)
        if volume is not None:
            self.records.put(volume.without(path, self.limits.now()))
        await self.agent.unmount(UnmountRequest(target=path, for_pods=True, remove=remove))
        log.info("taken down", extra={"volume": volume_id, "target": path})

    async def _remembered(self, volume_id: str, attributes: VolumeAttributes) -> Volume:
        """The volume as it is in use; else with the commit it had a moment ago; else with the newest."""
        volume = self.records.get(volume_id)
        if volume is not None and volume.paths:
            _check_same(volume, attributes)
            return volume
        if volume is not None and volume.attributes == attributes and not self.is_over(volume):
            try:
                resolved = await self._resolve(attributes, volume.resolved.commit)
                return volume.model_copy(update={"resolved": resolved})
            except NotFound:
                log.info("a commit is gone", extra={"volume": volume_id, "commit": volume.resolved.commit})
        resolved = await self._resolve(attributes, attributes.pinned or "")
        now, boot_id = self.limits.now(), self.limits.boot_id
        return Volume(id=volume_id, attributes=attributes, resolved=resolved, idle_since=now, boot_id=boot_id)

    def is_over(self, volume: Volume) -> bool:
        """Whether it has been idle for so long that LATEST is asked for again. A clock set back does not stretch that."""
        return volume.idle_since is not None and not 0 <= self.limits.now() - volume.idle_since < self.limits.idle_s

    async def _resolve(self, attributes: VolumeAttributes, commit: str) -> ResolvedCommit:
        asked = ResolveRequest(cluster_uid=attributes.cluster_uid, dataset_uid=attributes.dataset_uid, commit=commit)
        return await self.agent.resolve(asked)

    async def _locked(self, volume_id: str, work: Callable[[], Awaitable[T]]) -> T:
        lock = self._locks.setdefault(volume_id, asyncio.Lock())
        try:
            async with asyncio.timeout(self.limits.wait_s):
                await lock.acquire()
        except TimeoutError as exc:
            raise VolumeBusy(f"another call for volume {volume_id} is still under way") from exc
        try:
            return await work()
        finally:
            lock.release()

    def _on_done(self, task: asyncio.Future[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # its caller may be gone


def _check_same(volume: Volume, attributes: VolumeAttributes) -> None:
    if volume.attributes != attributes:
        raise VolumeConflict(
            f"volume {volume.id} is in use on this node as Dataset {volume.attributes.dataset}, commit "
            f"{volume.attributes.commit}; delete the pods that use it before its attributes change"
        )


def _request(volume: Volume, path: str) -> MountRequest:
    return MountRequest(
        cluster_uid=volume.attributes.cluster_uid,
        dataset_uid=volume.attributes.dataset_uid,
        commit=volume.resolved.commit,
        target=path,
        member_socket=volume.resolved.member_socket,
        for_pods=True,
    )
