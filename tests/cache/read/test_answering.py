"""What a member gives to others."""

import asyncio
import os
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import pytest
from tests.rigs.memberships import entry, placement
from tests.rigs.peers import ask, chunk

from forebay_cache.model.errors import (
    CatalogCorrupt,
    DeadlineExceeded,
    ForebayError,
    NotFound,
    OriginThrottled,
    OriginUnavailable,
    PartGone,
    StoreFailed,
)
from forebay_cache.model.ids import MemberId
from forebay_cache.model.ranges import Span
from forebay_cache.read.answering import LANES, Answering
from forebay_cache.read.base import Piece
from forebay_cache.read.peers import Peers
from forebay_cache.read.scratch import ScratchLease
from forebay_cache.transfer.base import Absent, Ask, Other, Reason, Refused, Run, WrongEpoch
from forebay_cache.transfer.memory import MemoryNetwork, MemoryTransfer

ASKER = MemberId("asker")
CLUSTER = placement(entry(n) for n in range(2))


@dataclass
class FewBytes:
    """A read path that has `here`, and can bring the rest in two pieces, unless `errors` says otherwise."""

    here: set[int] = field(default_factory=set)
    errors: dict[int, ForebayError] = field(default_factory=dict)
    gates: dict[int, asyncio.Event] = field(default_factory=dict)
    bringing: int = 0
    most: int = 0

    def __post_init__(self) -> None:
        self.fd = os.memfd_create("few", os.MFD_CLOEXEC)

    def lease(self, span: Span) -> ScratchLease | None:
        if span.chunk.number == 99:
            raise ValueError("beyond the chunk")
        return ScratchLease(self.fd) if span.chunk.number in self.here else None

    async def brought(self, span: Span) -> AsyncGenerator[Piece, None]:
        self.bringing += 1
        self.most = max(self.most, self.bringing)
        try:
            if gate := self.gates.get(span.chunk.number):
                await gate.wait()
            yield Piece(self.fd, span.start, 4096)
            if error := self.errors.get(span.chunk.number):
                raise error
            yield Piece(self.fd, span.start + 4096, span.length - 4096)
        finally:
            self.bringing -= 1


@pytest.fixture
def bytes_() -> FewBytes:
    return FewBytes()


async def answers(reader: FewBytes, wanted: Ask, me: str = "") -> list[Run | Other]:
    owner = me or CLUSTER.owner(wanted.spans[0].chunk)
    peers = Peers(MemberId(owner), lambda: CLUSTER, MemoryTransfer(MemberId(owner), MemoryNetwork()), lambda: 0.0)
    found = [one async for one in Answering(reader, peers).answer(ASKER, wanted)]
    assert reader.bringing == 0
    os.close(reader.fd)
    return found


def other_than(number: int) -> str:
    return next(m for m in CLUSTER.members if m != CLUSTER.owner(chunk(number)))


def owned(count: int) -> list[int]:
    """Chunks that the owner of chunk 0 has."""
    me = CLUSTER.owner(chunk(0))
    return [n for n in range(90) if CLUSTER.owner(chunk(n)) == me][:count]


async def test_what_is_here_comes_first_and_at_once(bytes_: FewBytes) -> None:
    missed, here = owned(2)
    bytes_.here = {here}
    found = await answers(bytes_, ask((missed, 0, 8192), (here, 0, 8192)))
    assert [(r.index, r.start, r.stop) for r in found if isinstance(r, Run)] == [
        (1, 0, 8192),
        (0, 0, 4096),
        (0, 4096, 8192),
    ]


async def test_store_only_brings_nothing(bytes_: FewBytes) -> None:
    assert await answers(bytes_, ask((0, 0, 8192), store_only=True)) == [Absent(0)]


async def test_another_members_chunk_is_given_from_the_store_and_never_brought(bytes_: FewBytes) -> None:
    assert await answers(bytes_, ask((0, 0, 8192)), other_than(0)) == [WrongEpoch(0, CLUSTER.epoch)]
    bytes_ = FewBytes(here={0})
    (run,) = await answers(bytes_, ask((0, 0, 8192)), other_than(0))
    assert isinstance(run, Run)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PartGone("gone"), Reason.GONE),
        (OriginThrottled("slow down"), Reason.THROTTLED),
        (OriginUnavailable("down"), Reason.ORIGIN),
        (NotFound("no such segment"), Reason.UNKNOWN),
        (CatalogCorrupt("damaged"), Reason.UNKNOWN),
        (DeadlineExceeded("late"), Reason.DEADLINE),
        (StoreFailed("disk"), Reason.FAILED),
    ],
    ids=str,
)
async def test_an_error_is_told_with_its_reason(bytes_: FewBytes, error: ForebayError, reason: Reason) -> None:
    bytes_.errors = {0: error}
    found = await answers(bytes_, ask((0, 0, 8192)))
    assert found[-1] == Refused(0, reason, str(error))


async def test_a_range_beyond_its_chunk_is_refused(bytes_: FewBytes) -> None:
    assert await answers(bytes_, ask((99, 0, 8192))) == [Refused(0, Reason.FAILED, "beyond the chunk")]


async def test_many_spans_are_brought_a_few_at_a_time_and_one_does_not_hold_up_the_rest(bytes_: FewBytes) -> None:
    numbers = owned(20)
    bytes_.gates[numbers[0]] = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, bytes_.gates[numbers[0]].set)
    found = await answers(bytes_, ask(*((n, 0, 8192) for n in numbers)))
    runs = [one for one in found if isinstance(one, Run)]
    assert sorted({run.index for run in runs}) == list(range(20))
    assert runs[-1].index == 0
    assert bytes_.most == LANES


async def test_who_leaves_stops_what_is_brought(bytes_: FewBytes) -> None:
    numbers = owned(3)
    bytes_.gates[numbers[1]] = asyncio.Event()
    owner = CLUSTER.owner(chunk(numbers[0]))
    peers = Peers(owner, lambda: CLUSTER, MemoryTransfer(owner, MemoryNetwork()), lambda: 0.0)
    found = Answering(bytes_, peers).answer(ASKER, ask(*((n, 0, 8192) for n in numbers)))
    await anext(found)
    await found.aclose()
    assert bytes_.bringing == 0
    os.close(bytes_.fd)
