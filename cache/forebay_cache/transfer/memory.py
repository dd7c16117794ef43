"""Transfer between sources of one process: what tests and dry runs put in the place of a network. Deterministic: sleep is
passed in, and nothing is drawn by chance. With latency, and with faults on demand."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace

from forebay_cache.model.errors import DeadlineExceeded, ForebayError, MemberBadFrame, MemberUnreachable
from forebay_cache.model.ids import MemberId
from forebay_cache.transfer.answers import answers
from forebay_cache.transfer.base import (
    RUN_LIMIT,
    Absent,
    Answer,
    Ask,
    Busy,
    Came,
    FileAnswer,
    FileBytes,
    FileName,
    FileSource,
    Run,
    Source,
)
from forebay_cache.transfer.files import opened, refusal, size_of
from forebay_cache.transfer.sums import file_sums, sums

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one ask. `unreachable`: no answer at all. `lost_after`: the member is gone after so many bytes.
    `stalled_after`: it falls silent after so many. `flipped`: one bit of its bytes is wrong. `busy`: it has too much to do."""

    unreachable: bool = False
    lost_after: int | None = None
    stalled_after: int | None = None
    flipped: bool = False
    busy: bool = False


@dataclass(slots=True)
class MemoryNetwork:
    """Who can be reached. `fault` is asked (asker, asked) at each ask and may be replaced at any time; `asks` counts such
    pairs. `silent_s`: how long a caller waits for one that fell silent. `files`: of those that give any."""

    sources: dict[MemberId, Source] = field(default_factory=dict)
    fault: Callable[[MemberId, MemberId], Fault | None] = lambda *_: None
    asks: Counter[tuple[MemberId, MemberId]] = field(default_factory=Counter)
    answering: int = 0
    latency_s: float = 0.0
    silent_s: float = 3.0
    sleep: Sleep = asyncio.sleep
    files: dict[MemberId, FileSource] = field(default_factory=dict)


class MemoryTransfer:
    """Implements Transfer and FileTransfer, for one member of a network."""

    def __init__(self, me: MemberId, network: MemoryNetwork) -> None:
        self._me = me
        self._network = network

    async def read(self, member: MemberId, ask: Ask) -> AsyncGenerator[Answer, None]:
        async with self._asked(member) as fault:
            if fault.busy:
                for index in range(len(ask.spans)):
                    yield Busy(index, 0.1)
                return
            async with aclosing(self._answers(self._network.sources[member], ask, fault)) as found:
                async for answer in found:
                    yield answer

    async def read_file(self, member: MemberId, name: FileName, deadline_s: float) -> AsyncGenerator[FileAnswer, None]:
        until = asyncio.get_running_loop().time() + deadline_s
        async with self._asked(member) as fault:
            files = self._network.files.get(member)
            if fault.busy or files is None:
                yield Busy(0, 0.1) if fault.busy else Absent(0)
                return
            async with aclosing(self._pieces(files, name, fault)) as found:
                async for answer in found:
                    if asyncio.get_running_loop().time() >= until:
                        raise DeadlineExceeded(f"member {member} did not answer within {deadline_s:.1f} s")
                    yield answer

    async def aclose(self) -> None:
        """Nothing to close."""

    @asynccontextmanager
    async def _asked(self, member: MemberId) -> AsyncIterator[Fault]:
        network, fault = self._network, self._network.fault(self._me, member) or Fault()
        network.asks[self._me, member] += 1
        if fault.unreachable or (member not in network.sources and member not in network.files):
            raise MemberUnreachable(f"member {member} does not answer")
        if network.latency_s:
            await network.sleep(network.latency_s)
        network.answering += 1
        try:
            yield fault
        finally:
            network.answering -= 1

    async def _answers(self, source: Source, ask: Ask, fault: Fault) -> AsyncGenerator[Answer, None]:
        sent = 0
        async with aclosing(answers(source, self._me, ask)) as found:
            async for one in found:
                if not isinstance(one, Run):
                    yield one
                    continue
                for at in range(one.start, one.stop, RUN_LIMIT):
                    came = _copied(replace(one, start=at, stop=min(one.stop, at + RUN_LIMIT)), fault)
                    sent += len(came.data)
                    await self._obey(fault, sent)
                    yield came

    async def _pieces(self, files: FileSource, name: FileName, fault: Fault) -> AsyncGenerator[FileAnswer, None]:
        try:
            async with opened(files, name, None) as fd:
                size = size_of(fd, name)
                for at in range(0, size, RUN_LIMIT):
                    data = bytearray(os.pread(fd, min(RUN_LIMIT, size - at), at))
                    data[0] ^= fault.flipped
                    await self._obey(fault, at + len(data))
                    yield FileBytes(at, size, memoryview(data))
        except MemberUnreachable:
            raise
        except ForebayError as exc:
            yield refusal(exc)

    async def _obey(self, fault: Fault, sent: int) -> None:
        if fault.lost_after is not None and sent > fault.lost_after:
            raise MemberUnreachable(f"the connection broke after {fault.lost_after} bytes")
        if fault.stalled_after is not None and sent > fault.stalled_after:
            await self._network.sleep(self._network.silent_s)
            raise MemberUnreachable(f"the member was silent for {self._network.silent_s} s")


def _copied(run: Run, fault: Fault) -> Came:
    data = bytearray(os.pread(run.fd, run.stop - run.start, run.start))
    if fault.flipped:
        data[0] ^= 1
    if sums(memoryview(data)) != file_sums(run):
        raise MemberBadFrame(f"bytes [{run.start}, {run.stop}) of a chunk do not match their checksums")
    return Came(run.index, run.start, memoryview(data))
