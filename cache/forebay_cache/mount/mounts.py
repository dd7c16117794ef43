"""Every mount of this agent: which commit is where, what serves it, and how it ends.

Targets that show the same commit share one file system and so one page cache. Kernel calls run in threads. A volume ends
when its last target does; where another mount namespace still shows it, its workers serve on until that lets go.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from forebay_cache.model.errors import ForebayError, TargetInUse
from forebay_cache.model.ids import CommitId
from forebay_cache.mount import targets
from forebay_cache.mount.records import Record, Records
from forebay_cache.mount.session import Serving
from forebay_cache.mount.tally import Totals, summed
from forebay_cache.mount.volume import Volume, assemble
from forebay_cache.mount.workers import Workers

T = TypeVar("T")
log = logging.getLogger("forebay.mount")


@dataclass(frozen=True, slots=True)
class Wanted:
    """One mount as it was asked for."""

    cluster_uid: str
    dataset_uid: str
    commit: CommitId
    target: str
    member_socket: str
    for_pods: bool = False


@dataclass(slots=True)
class _Active:
    """A volume that is attached somewhere."""

    volume: Volume
    workers: Workers
    targets: list[str] = field(default_factory=list)
    """Those attached, and those about to be."""


@dataclass(frozen=True, slots=True)
class Place:
    """A directory to mount on. `made`: by us, so it goes again."""

    target: str
    made: bool


Key = tuple[str, str, CommitId]
"""Node socket, Dataset, commit: what makes two mounts the same volume."""


class Mounts:
    """Bound to one event loop. `serving(member_socket)` says how READs of a new volume are answered."""

    def __init__(self, records: Records, serving: Callable[[str], Serving], read_ahead_kb: int) -> None:
        self._records = records
        self._serving = serving
        self._read_ahead_kb = read_ahead_kb
        self._active: dict[Key, _Active] = {}
        self._targets: dict[str, tuple[Record, Key]] = {}
        self._locks: WeakValueDictionary[object, asyncio.Lock] = WeakValueDictionary()
        self._ending: set[Workers] = set()
        self._ended = Totals()
        self._tasks: set[asyncio.Future[Any]] = set()

    def __len__(self) -> int:
        return len(self._active)

    @property
    def records(self) -> list[Record]:
        return [record for record, _ in self._targets.values()]

    def totals(self) -> Totals:
        running = [*(active.workers for active in self._active.values()), *self._ending]
        return summed([self._ended, *(workers.totals() for workers in running)])

    async def mount(self, wanted: Wanted) -> Record:
        """Shows a commit at a target; again the same answer for the same commit there.

        Raises BadInput, TargetInUse, NotFound, MemberUnreachable, DeadlineExceeded, CatalogCorrupt, MountUnsupported,
        MountFailed.
        """
        target = await asyncio.to_thread(targets.check, wanted.target)
        return await self._run_to_its_end(self._mount(wanted, target))

    async def unmount(self, target: str) -> None:
        """Nothing is mounted there afterwards, by us. Raises TargetInUse."""
        target = await asyncio.to_thread(os.path.realpath, target)
        await self._run_to_its_end(self._unmount(target, force=False))

    async def unmount_for_pods(self, target: str, *, remove: bool) -> None:
        """A kubelet gives a target back: what is in use, or no record knows, leaves the tree all the same. `remove`: the
        empty directory goes too. Raises BadInput, MountFailed."""
        target = await asyncio.to_thread(targets.check, target)
        await self._run_to_its_end(self._give_back(target, remove=remove))

    async def clean(self) -> None:
        """Removes what an agent that crashed has left."""
        for record in list(self._records):
            await asyncio.to_thread(targets.take_down, record, force=True)
            self._records.remove(record.target)
            log.info("cleaned up", extra={"target": record.target, "commit": record.commit})

    async def close(self) -> None:
        """Unmounts everything; what is in use leaves the tree and gives EIO once its cached pages are used up."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        async with asyncio.TaskGroup() as group:
            for target in list(self._targets):
                group.create_task(self._end(target))
        for workers in list(self._ending):
            await workers.close()

    async def _mount(self, wanted: Wanted, target: str) -> Record:
        key = (wanted.member_socket, wanted.dataset_uid, wanted.commit)
        async with self._lock(target), self._lock(key):
            known = await self._known(target, key)
            if known is not None:
                return known
            if wanted.for_pods:
                await asyncio.to_thread(targets.check_reaches_pods, target)
            made = await asyncio.to_thread(targets.prepare, target)
            try:
                record = await self._attach(wanted, Place(target, made), key)
            except BaseException:
                await asyncio.to_thread(targets.remove, target, made=made)
                raise
            log.info("mounted", extra={"target": target, "commit": wanted.commit, "dataset": wanted.dataset_uid})
            return record

    async def _attach(self, wanted: Wanted, place: Place, key: Key) -> Record:
        (active, beside), target = await self._volume(key), place.target
        record = Record(
            wanted.cluster_uid, wanted.dataset_uid, wanted.commit, target, active.volume.device_name, place.made
        )
        active.targets.append(target)
        self._targets[target] = (record, key)
        try:
            await asyncio.to_thread(self._records.put, record)
            await asyncio.to_thread(targets.put_up, active.volume, target, beside)
        except BaseException:
            await self._forget(target)
            raise
        return record

    async def _known(self, target: str, key: Key) -> Record | None:
        """The mount that is there already, if it is the same. Raises TargetInUse where it is not."""
        record, old = self._targets.get(target, (None, None))
        if record is None:
            return None
        if not await asyncio.to_thread(targets.is_up, record):
            await self._forget(target)  # somebody unmounted it by hand
            return None
        if old != key:
            raise TargetInUse(f"{target} shows commit {record.commit} already; unmount it first")
        return record

    async def _volume(self, key: Key) -> tuple[_Active, str | None]:
        """The volume of this commit and a target that shows it; a new one, and none, where it is attached no more."""
        active = self._active.get(key)
        beside = await self._shown_at(active) if active else None
        if active and beside:
            return active, beside
        socket, _, commit = key
        volume = await asyncio.to_thread(assemble, commit, self._serving(socket), self._read_ahead_kb)
        made = self._active[key] = _Active(volume, Workers(volume.session, commit, self._on_ended))
        return made, None

    async def _shown_at(self, active: _Active) -> str | None:
        """One of its targets; those that somebody unmounted by hand are forgotten."""
        for target in list(active.targets):
            record, _ = self._targets.get(target, (None, None))
            if record is not None and await asyncio.to_thread(targets.is_up, record):
                return target
            await self._forget(target)
        return None

    async def _unmount(self, target: str, *, force: bool) -> None:
        """Its volume is locked as well: a mount beside this one would meet it half gone."""
        async with self._lock(target):
            record, key = self._targets.get(target, (None, None))
            if record is None:
                return
            async with self._lock(key):
                await asyncio.to_thread(targets.take_down, record, force=force)
                await self._forget(target)
            log.info("unmounted", extra={"target": target, "commit": record.commit})

    async def _give_back(self, target: str, *, remove: bool) -> None:
        await self._unmount(target, force=True)
        async with self._lock(target):
            if target not in self._targets:
                await asyncio.to_thread(targets.take_down_unknown, target)
                await asyncio.to_thread(targets.remove, target, made=remove)

    async def _end(self, target: str) -> None:
        try:
            await self._unmount(target, force=True)
        except ForebayError:
            log.exception("left behind", extra={"target": target})

    async def _forget(self, target: str) -> None:
        """A target that shows its volume no longer. A volume without targets ends. Idempotent."""
        _, key = self._targets.pop(target, (None, None))
        if key is None:
            return
        active = self._active[key]
        active.targets.remove(target)
        last = not active.targets
        if last:
            del self._active[key]
            self._ending.add(active.workers)
        await asyncio.to_thread(self._records.remove, target)
        if last:
            await asyncio.to_thread(active.volume.let_go)
            if not await active.workers.ended_by_itself():
                log.info("still in use elsewhere; serving on", extra={"commit": active.volume.commit})

    def _on_ended(self, workers: Workers) -> None:
        """The workers are done: their numbers stay."""
        if workers in self._ending:
            self._ending.remove(workers)
            self._ended.add(workers.totals())

    def _lock(self, key: object) -> asyncio.Lock:
        """One for each key, as long as somebody has it."""
        return self._locks.setdefault(key, asyncio.Lock())

    async def _run_to_its_end(self, work: Awaitable[T]) -> T:
        """Goes on when its caller is gone: a kernel call cannot be taken back half-way."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)
