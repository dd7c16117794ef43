"""What every transfer must do alike."""

import asyncio
from contextlib import aclosing

import pytest
from tests.conformance.transfer.conftest import SILENT_S, Peers, Wrong
from tests.rigs.peers import NOBODY, OTHER, ask, collect

from forebay_cache.model.errors import DeadlineExceeded, MemberBadFrame, MemberUnreachable, StoreFailed
from forebay_cache.transfer.base import RUN_LIMIT, Absent, Ask, Busy, Came, Other, Reason, Refused, WrongEpoch

CHUNK = 8 << 20


async def take(peers: Peers, wanted: Ask, got: bytearray) -> None:
    """All that comes of one span."""
    async with aclosing(peers.transfer.read(OTHER, wanted)) as answers:
        async for answer in answers:
            assert isinstance(answer, Came)
            got += answer.data


@pytest.mark.parametrize(
    ("start", "stop"),
    [(0, CHUNK), (0, 4096), (CHUNK - 4096, CHUNK), (4096 * 7, 4096 * 100), (RUN_LIMIT, 3 * RUN_LIMIT)],
)
async def test_bytes_come_as_they_are(peers: Peers, start: int, stop: int) -> None:
    wanted = ask((0, start, stop))
    got = await collect(peers.transfer, wanted)
    assert got.data[0] == peers.source.right(wanted.spans[0])
    assert not got.others


async def test_bytes_without_stored_checksums_come_as_well(peers: Peers) -> None:
    peers.source.stored_sums = False
    wanted = ask((1, 4096, 5 << 20))
    assert (await collect(peers.transfer, wanted)).data[0] == peers.source.right(wanted.spans[0])


async def test_no_buffer_is_beyond_the_limit(peers: Peers) -> None:
    wanted = ask((0, 0, CHUNK))
    async with aclosing(peers.transfer.read(OTHER, wanted)) as answers:
        async for answer in answers:
            assert isinstance(answer, Came)
            assert len(answer.data) <= RUN_LIMIT


async def test_many_small_spans_come_in_one_ask(peers: Peers) -> None:
    wanted = ask(*((n % 4, n * 4096, n * 4096 + 8192) for n in range(256)))
    got = await collect(peers.transfer, wanted)
    assert [got.data[n] for n in range(256)] == [peers.source.right(span) for span in wanted.spans]
    assert len(peers.source.asked) == 1


async def test_the_member_learns_who_asks_and_what(peers: Peers) -> None:
    wanted = ask((3, 0, 4096), epoch=1 << 40, store_only=True, deadline_s=7.25)
    await collect(peers.transfer, wanted)
    assert peers.source.asked == [("me", wanted)]


async def test_every_other_answer_comes_as_it_is(peers: Peers) -> None:
    others: list[Other] = [
        Absent(0),
        Busy(1, 1.5),
        WrongEpoch(2, 1 << 40),
        *(Refused(3 + n, reason, f"why {n} ü") for n, reason in enumerate(Reason)),
    ]
    peers.source.say = lambda index, _: others[index] if index < len(others) else None
    got = await collect(peers.transfer, ask(*((1, 4096 * n, 4096 * n + 4096) for n in range(len(others) + 1))))
    assert list(got.others.values()) == others
    assert [index for index, data in got.data.items() if data] == [len(others)]


async def test_first_bytes_come_while_the_rest_is_not_there_yet(peers: Peers) -> None:
    peers.source.piece = 64 << 10
    peers.source.gate.clear()
    async with aclosing(peers.transfer.read(OTHER, ask((0, 0, CHUNK)))) as answers:
        first = asyncio.ensure_future(anext(answers))
        while not peers.source.leases:
            await asyncio.sleep(0)
        peers.source.gate.set()
        await asyncio.sleep(0)
        peers.source.gate.clear()
        assert isinstance(await first, Came)
    await peers.idle()


async def test_a_member_at_work_is_not_taken_for_a_silent_one(peers: Peers) -> None:
    peers.source.gate.clear()
    asyncio.get_running_loop().call_later(3 * SILENT_S, peers.source.gate.set)
    wanted = ask((0, 0, 4096))
    assert (await collect(peers.transfer, wanted)).data[0] == peers.source.right(wanted.spans[0])


async def test_many_asks_at_once_wait_for_each_other(peers: Peers) -> None:
    wanted = [ask((n % 4, 4096 * n, 4096 * n + 300_000 // 4096 * 4096)) for n in range(40)]
    found = await asyncio.gather(*(collect(peers.transfer, one) for one in wanted))
    assert [got.data[0] for got in found] == [peers.source.right(one.spans[0]) for one in wanted]


async def test_an_unknown_member_is_unreachable(peers: Peers) -> None:
    with pytest.raises(MemberUnreachable):
        await collect(peers.transfer, ask((0, 0, 4096)), NOBODY)


@pytest.mark.parametrize("what", ["unreachable", "lost", "stalled"])
@pytest.mark.parametrize("warm", [False, True])
async def test_a_lost_member_is_told_within_its_deadline(peers: Peers, what: Wrong, warm: bool) -> None:
    if warm:
        await collect(peers.transfer, ask((0, 0, 4096)))
    await peers.fail(what)
    with pytest.raises(MemberUnreachable):
        await collect(peers.transfer, ask((0, 0, CHUNK)))
    await peers.idle()


@pytest.mark.parametrize("what", ["lost", "stalled"])
async def test_what_came_before_the_member_was_lost_is_right(peers: Peers, what: Wrong) -> None:
    await peers.fail(what, after=3 << 20)
    wanted, got = ask((0, 0, CHUNK)), bytearray()
    with pytest.raises(MemberUnreachable):
        await take(peers, wanted, got)
    assert 0 < len(got) <= 3 << 20
    assert got == peers.source.right(wanted.spans[0])[: len(got)]
    await peers.idle()


async def test_wrong_bytes_are_never_handed_out(peers: Peers) -> None:
    await peers.fail("flipped")
    wanted, got = ask((0, 0, CHUNK)), bytearray()
    with pytest.raises(MemberBadFrame):
        await take(peers, wanted, got)
    assert got == peers.source.right(wanted.spans[0])[: len(got)]
    await peers.idle()


async def test_a_deadline_ends_the_work_there_too(peers: Peers) -> None:
    peers.source.gate.clear()
    try:
        got = await collect(peers.transfer, ask((0, 0, 4096), (1, 0, 4096), deadline_s=0.1))
    except DeadlineExceeded:
        pass
    else:
        assert [other.reason for other in got.others.values() if isinstance(other, Refused)] == [Reason.DEADLINE] * 2
    await peers.idle()


async def test_a_cancelled_reader_leaves_nothing_behind(peers: Peers) -> None:
    peers.source.gate.clear()
    reading = asyncio.ensure_future(collect(peers.transfer, ask((0, 0, CHUNK))))
    while not peers.source.leases:
        await asyncio.sleep(0.001)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await peers.idle()
    peers.source.gate.set()
    wanted = ask((2, 0, 4096))
    assert (await collect(peers.transfer, wanted)).data[0] == peers.source.right(wanted.spans[0])


async def test_a_reader_that_leaves_early_stops_the_member(peers: Peers) -> None:
    peers.source.piece = 4096
    async with aclosing(peers.transfer.read(OTHER, ask((0, 0, CHUNK)))) as answers:
        await anext(answers)
    await peers.idle()


async def test_a_source_that_fails_or_says_nothing_is_a_refusal(peers: Peers) -> None:
    def fail(index: int, _: Ask) -> None:
        if index == 1:
            raise StoreFailed("the disk is gone")

    peers.source.say = fail
    got = await collect(peers.transfer, ask((0, 0, 4096), (1, 0, 4096), (2, 0, 4096)))
    assert got.data[0]
    assert got.others == {n: Refused(n, Reason.FAILED, "the disk is gone") for n in (1, 2)}
    wanted = ask((0, 0, 4096))
    peers.source.say = lambda *_: None
    assert (await collect(peers.transfer, wanted)).data[0] == peers.source.right(wanted.spans[0])


async def test_a_member_that_comes_back_is_asked_again(peers: Peers) -> None:
    await peers.fail("lost")
    with pytest.raises(MemberUnreachable):
        await collect(peers.transfer, ask((0, 0, CHUNK)))
    if peers.network:
        peers.network.fault = lambda *_: None
    if peers.wire:
        peers.wire.lost_after = None
    wanted = ask((0, 0, CHUNK))
    assert (await collect(peers.transfer, wanted)).data[0] == peers.source.right(wanted.spans[0])
