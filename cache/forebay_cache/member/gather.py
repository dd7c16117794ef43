"""Brings the catalog files of commits that this member is told to serve, and that another member's sync made, from the members
that have them.

Level-based: what a state names is looked at again and again, so it does not matter how a file was lost, or who was away.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.catalog.gathering import Gathering, Incoming, whole
from forebay_cache.member.assembling import assembled
from forebay_cache.member.registry import Registry
from forebay_cache.member.roster import Roster
from forebay_cache.model.errors import (
    CatalogCorrupt,
    DeadlineExceeded,
    ForebayError,
    MemberBadFrame,
    MemberUnreachable,
    NotFound,
)
from forebay_cache.model.ids import CommitId, MemberId
from forebay_cache.transfer.base import Absent, FileBytes, FileName, FileTransfer, Folder

LOOK_S = 1.0
"""Between two looks at what the state names."""
AGAIN_S = 60.0
"""Until a commit that is whole is looked at again, and at most until one that could not be had is asked for again."""
LANES = 4
"""Files asked for at once."""
FILE_DEADLINE_S = 300.0
"""For one file of at most 4 GiB; a member that is silent is given up much sooner."""
T = TypeVar("T")
Assemble = Callable[[Gathering], Awaitable[None]]
"""Makes device table and image of what was gathered, and then its record."""
log = logging.getLogger("forebay.catalog")


@dataclass(frozen=True, slots=True)
class Others:
    """Who else may have a catalog file, and the way to ask them."""

    me: MemberId
    roster: Roster
    transfer: FileTransfer

    def having(self, name: FileName, giver: MemberId | None = None) -> Sequence[MemberId]:
        """Who to ask, in order: the file's holders, who gave another file of its commit, everybody."""
        placement = self.roster.placement
        if placement is None:
            return ()
        first = (*placement.choose_holders(name.id.hex()), *([giver] if giver else ()))
        return [one for one in dict.fromkeys((*first, *placement.members)) if one != self.me]


@dataclass(slots=True)
class GatherCounters:
    """Since the start. `refused`: files that were not what their names say. `failed`: tries that did not bring a commit."""

    commits: int = 0
    files: int = 0
    bytes: int = 0
    refused: int = 0
    failed: int = 0


@dataclass(slots=True)
class _Look:
    """When a commit is due next, how often in a row it could not be had, and what was said of that."""

    due: float = 0.0
    failed: int = 0
    complaint: str = ""


class Gatherer:
    """Bound to one event loop. `now` is monotonic."""

    def __init__(
        self,
        files: CatalogFiles,
        registry: Registry,
        others: Others,
        now: Callable[[], float],
        assemble: Assemble = assembled,
    ) -> None:
        self._files = files
        self._registry = registry
        self._others = others
        self._now = now
        self._assemble = assemble
        self._looks: dict[CommitId, _Look] = {}
        self._epoch = 0
        self.counters = GatherCounters()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Gathers what is named, due and not here, one commit after another."""
        named = self._registry.named()
        placement = self._others.roster.placement
        if not named or placement is None or not set(placement.members) - {self._others.me}:
            return
        if placement.epoch != self._epoch:  # somebody new may have what nobody had
            self._epoch = placement.epoch
            self._looks.clear()
        self._looks = {commit: self._looks.get(commit) or _Look() for commit in named}
        for commit in self._in_order(named):
            look = self._looks[commit]
            if look.due <= self._now():
                await self._see_to(commit, look)

    def _in_order(self, named: Collection[CommitId]) -> Sequence[CommitId]:
        """Heads first: readers wait for them."""
        states = [one.state for one in self._registry.snapshot.by_uid.values()]
        heads = {name for state in states for name in (state.head, state.latest)}
        return sorted(named, key=lambda commit: (commit not in heads, commit))

    async def _see_to(self, commit: CommitId, look: _Look) -> None:
        try:
            if not await asyncio.to_thread(whole, self._files, commit):
                await self._gather(commit)
                await self._registry.reopen()
        except ForebayError as exc:
            self.counters.failed += 1
            look.due = self._now() + min(AGAIN_S, LOOK_S * 2**look.failed)
            look.failed = min(look.failed + 1, 16)
            if str(exc) != look.complaint:
                look.complaint = str(exc)
                log.warning("commit not gathered", extra={"commit": commit, "reason": look.complaint})
        else:
            look.due, look.failed, look.complaint = self._now() + AGAIN_S, 0, ""

    async def _gather(self, commit: CommitId) -> None:
        before, began = (self.counters.files, self.counters.bytes), self._now()
        gathering = Gathering(self._files, commit)
        async with _thread(gathering) as thread:
            await _Work(gathering, self._others, thread, self.counters).run()
            await self._assemble(gathering)
        self.counters.commits += 1
        counts = {"files": self.counters.files - before[0], "bytes": self.counters.bytes - before[1]}
        log.info("commit gathered", extra={"commit": commit, **counts, "seconds": round(self._now() - began, 1)})


class _Thread:
    """The one thread that writes: what is asked of it happens in order, also when nobody waits for it any more."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool

    def do(self, call: Callable[..., T], *args: object) -> Awaitable[T]:
        return asyncio.shield(asyncio.get_running_loop().run_in_executor(self._pool, call, *args))


@asynccontextmanager
async def _thread(gathering: Gathering) -> AsyncIterator[_Thread]:
    """Leaves nothing open behind it, whatever was under way."""
    pool = ThreadPoolExecutor(1, "gather")
    thread = _Thread(pool)
    try:
        yield thread
    finally:
        try:
            await thread.do(gathering.close)
        finally:
            pool.shutdown(wait=False)


class _Work:
    """One try at one commit."""

    def __init__(self, gathering: Gathering, others: Others, thread: _Thread, counters: GatherCounters) -> None:
        self._gathering = gathering
        self._others = others
        self._do = thread.do
        self._counters = counters
        self._giver: MemberId | None = None
        self._lost: set[MemberId] = set()
        self._wrong = ""

    async def run(self) -> None:
        """All but the image. Raises NotFound where nobody has a file, and what a Gathering raises."""
        gathering = self._gathering
        await self._do(gathering.begin)
        try:
            if gathering.record is None:
                await self._file(FileName(Folder.COMMITS, bytes.fromhex(gathering.commit)))
            await _all(await self._do(gathering.missing_leaves), self._file)
            await _all(await self._do(gathering.missing_segments), self._segment)
        except ForebayError:
            with suppress(ForebayError):
                await self._do(gathering.settle)  # the next try goes on from there
            raise
        await self._do(gathering.settle)

    async def _file(self, name: FileName) -> None:
        incoming, self._giver = await self._from_any(name)
        await self._do(self._gathering.take, incoming)

    async def _segment(self, name: FileName) -> None:
        """A parts table, and its ancestors where the member that gives it has any: they get their name first, because nobody
        looks for them again where there is a parts table."""
        while True:
            incoming, giver = await self._from_any(name)
            merged = await self._ask(giver, FileName(Folder.ANCESTORS, name.id))
            if giver not in self._lost:
                break
            await self._do(self._gathering.drop, incoming)
        await self._do(self._gathering.take, *([merged] if merged else []), incoming)

    async def _from_any(self, name: FileName) -> tuple[Incoming, MemberId]:
        for member in self._others.having(name, self._giver):
            if member not in self._lost and (found := await self._ask(member, name)):
                return found, member
        why = f"; {self._wrong}" if self._wrong else ""
        raise NotFound(f"no other member gives file {name.id.hex()} of {name.folder.name.lower()}{why}")

    async def _ask(self, member: MemberId, name: FileName) -> Incoming | None:
        """None: it has none, or no right one, or is lost."""
        found: Incoming | None = None
        try:
            found = await self._received(member, name)
            if found:
                await self._do(found.check)
                self._counters.files += 1
        except (MemberUnreachable, DeadlineExceeded, MemberBadFrame) as exc:
            self._lost.add(member)
            self._wrong = str(exc)
        except CatalogCorrupt as exc:
            self._counters.refused += 1
            self._wrong = f"member {member}: {exc}"
            if found:
                await self._do(self._gathering.drop, found)
            found = None
        return found

    async def _received(self, member: MemberId, name: FileName) -> Incoming | None:
        """All bytes of a file, as they came; None: there is none. Raises what `read_file` does."""
        found: Incoming | None = None
        async with aclosing(self._others.transfer.read_file(member, name, FILE_DEADLINE_S)) as answers:
            async for answer in answers:
                if isinstance(answer, Absent):
                    return None
                if not isinstance(answer, FileBytes):
                    raise MemberUnreachable(f"member {member} does not give it now: {answer}")
                if found is None:
                    found = await self._do(self._gathering.incoming, name)
                await self._do(found.write, answer.data)
                self._counters.bytes += len(answer.data)
        return found


async def _all(names: Sequence[FileName], bring: Callable[[FileName], Awaitable[None]]) -> None:
    """A few at a time; the first error ends the rest."""
    rest = iter(names)

    async def lane() -> None:
        for name in rest:
            await bring(name)

    lanes = [asyncio.create_task(lane()) for _ in range(min(LANES, len(names)))]
    try:
        await asyncio.gather(*lanes)
    finally:
        for one in lanes:
            if not one.cancelling():  # a second time would break off what the first makes it do
                one.cancel()
        if lanes:
            await asyncio.wait(lanes)
