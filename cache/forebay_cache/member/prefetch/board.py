"""The prefetches of a member: at most one of a Dataset runs; the newest of each is remembered, also across a restart, which
one that was running survives: it goes on, and finds what is here already."""

import asyncio
import logging
import os
import uuid
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field

from pydantic import ValidationError

from forebay_cache.catalog.base import Catalog, Commit
from forebay_cache.catalog.edge import disk
from forebay_cache.contract.prefetch import PrefetchReport, PrefetchRequest
from forebay_cache.member.durable import save
from forebay_cache.member.prefetch.evict import evict
from forebay_cache.member.prefetch.progress import Progress
from forebay_cache.member.prefetch.run import Run, Source
from forebay_cache.member.prefetch.units import chosen, units
from forebay_cache.model.errors import BadInput, ForebayError, NotFound, PrefetchConflict
from forebay_cache.model.ids import ChunkId, CommitId
from forebay_cache.read.base import Loader
from forebay_cache.store.base import Store

log = logging.getLogger("forebay.prefetch")


@dataclass(frozen=True, slots=True)
class House:
    """What prefetches work with. `mine`: whether this member is to hold a chunk. `room`: bytes it may ever hold. `now` is
    monotonic, `now_ms` wall time."""

    loader: Loader
    store: Store
    catalog: Catalog
    pool: Executor
    room: int
    now: Callable[[], float]
    now_ms: Callable[[], int]
    mine: Callable[[ChunkId], bool] = field(default=lambda _: True)


@dataclass(slots=True)
class _Held:
    report: PrefetchReport
    progress: Progress
    task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        return self.report.state == "Running"


class Prefetches:
    """`folder` keeps one file a Dataset. `commit_of` finds a Dataset's commit (None: its head), or raises NotFound."""

    def __init__(self, folder: str, house: House, commit_of: Callable[[str, CommitId | None], Commit]) -> None:
        self._folder, self._house, self._commit_of = folder, house, commit_of
        self._held: dict[str, _Held] = {}
        self._saving = asyncio.Lock()

    def newest(self, uid: str) -> PrefetchReport | None:
        held = self._held.get(uid)
        return held.progress.on(held.report) if held and held.running else held.report if held else None

    async def start(self, uid: str, request: PrefetchRequest) -> PrefetchReport:
        """Raises NotFound, BadInput, PrefetchConflict, StoreError."""
        commit = self._commit_of(uid, CommitId(request.commit) if request.commit else None)
        before = self._held.get(uid)
        if before and before.running:
            if (before.report.request, before.report.commit) == (request, commit.id):
                return before.progress.on(before.report)
            raise PrefetchConflict(
                "another prefetch of this Dataset runs; stop it first (forebay prefetch --stop), or wait"
            )
        next(chosen(commit, request), None)  # says now what is wrong with it
        report = PrefetchReport(
            id=uuid.uuid4().hex,
            state="Running",
            request=request,
            commit=commit.id,
            started_ms=self._house.now_ms(),
        )
        await self._keep(uid, report)
        self._begin(uid, report, commit)
        return report

    async def stop(self, uid: str) -> PrefetchReport:
        """Raises NotFound where none ever ran."""
        held = self._held.get(uid)
        if held is None:
            raise NotFound("no prefetch of this Dataset ever ran here")
        if held.task and held.running:
            held.task.cancel()
            await asyncio.wait([held.task])
            await self._end(uid, "Stopped", "it was stopped; what was fetched stays")
        return held.report

    async def resume(self) -> None:
        """Goes on with what ran when the member stopped."""
        for uid, report in (await asyncio.to_thread(self._saved)).items():
            if report.state != "Running":
                self._held[uid] = _Held(report, Progress(self._house.now))
                continue
            try:
                commit = self._commit_of(uid, CommitId(report.commit))
            except ForebayError as exc:
                self._held[uid] = _Held(report, Progress(self._house.now))
                await self._end(uid, "Failed", f"its commit is gone: {exc}")
            else:
                self._begin(uid, report, commit)

    async def aclose(self) -> None:
        """Stops what runs; the next start of the member goes on with it."""
        tasks = [held.task for held in self._held.values() if held.task]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _begin(self, uid: str, report: PrefetchReport, commit: Commit) -> None:
        held = self._held[uid] = _Held(report, Progress(self._house.now))
        held.task = asyncio.create_task(self._run(uid, held, commit))

    async def _run(self, uid: str, held: _Held, commit: Commit) -> None:
        try:
            message = await self._work(held, commit)
        except ForebayError as exc:
            await self._end(uid, "Failed", str(exc))
        else:
            evicted = held.report.request.action == "Evict"
            await self._end(uid, "Complete" if evicted or not message else "Failed", message)

    async def _work(self, held: _Held, commit: Commit) -> str:
        house, request = self._house, held.report.request
        if request.action == "Evict":
            found = units(chosen(commit, request), house.mine)
            return await evict(found, house.store, house.catalog, house.pool, held.progress)
        source = Source(house.loader, lambda: units(chosen(commit, request), house.mine), house.room)
        return await Run(source, held.progress, request.bytes_per_second).run()

    async def _end(self, uid: str, state: str, message: str) -> None:
        held = self._held[uid]
        ended = {"state": state, "message": message, "finished_ms": self._house.now_ms()}
        report = held.progress.on(held.report.model_copy(update=ended))
        counts = {"bytes": report.bytes_done, "fetched": report.fetched, "failed": report.failed}
        log.info("prefetch ended", extra={"dataset": uid, "state": state, "reason": message, **counts})
        try:
            await self._keep(uid, report)  # first, so that who sees the end sees it after a restart as well
        except ForebayError as exc:
            log.warning("prefetch not kept", extra={"dataset": uid, "reason": str(exc)})
        held.report = report

    async def _keep(self, uid: str, report: PrefetchReport) -> None:
        async with self._saving:  # one after the other: the newest must be what stays
            await asyncio.to_thread(self._save, uid, report)

    def _save(self, uid: str, report: PrefetchReport) -> None:
        path = os.path.join(self._folder, f"{_name(uid)}.json")
        with disk("keeping a prefetch"):
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
        # one that was cancelled may still be writing
        save(path, report, "keeping a prefetch", aside=f"{path}.{uuid.uuid4().hex}")

    def _saved(self) -> dict[str, PrefetchReport]:
        found = {}
        try:
            names = sorted(name for name in os.listdir(self._folder) if name.endswith(".json"))
        except FileNotFoundError:
            return {}
        for name in names:
            try:
                with open(os.path.join(self._folder, name), "rb") as file:
                    found[name.removesuffix(".json")] = PrefetchReport.model_validate_json(file.read())
            except (OSError, ValidationError):
                log.warning("prefetch not read; start it again", extra={"file": name})
        return found


def _name(uid: str) -> str:
    if not uid or "/" in uid or uid.startswith("."):
        raise BadInput(f"{uid!r} is no Dataset's UID")
    return uid
