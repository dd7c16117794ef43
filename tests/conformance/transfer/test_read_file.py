"""What every transfer must do alike with catalog files."""

import asyncio
import random
from contextlib import aclosing

import pytest
from tests.conformance.transfer.conftest import Peers, Wrong
from tests.rigs.peers import NOBODY, OTHER, ask, collect, file_name

from forebay_cache.model.errors import DeadlineExceeded, MemberBadFrame, MemberUnreachable, NotFound, StoreFailed
from forebay_cache.transfer import base
from forebay_cache.transfer.base import (
    FILE_LIMITS,
    RUN_LIMIT,
    Absent,
    FileBytes,
    FileName,
    Folder,
    Other,
    Reason,
    Refused,
)

NAME = file_name(1)


async def taken(peers: Peers, name: FileName = NAME, deadline_s: float = 10.0) -> tuple[bytes, Other | None]:
    """All that comes of one file."""
    data = bytearray()
    async with aclosing(peers.transfer.read_file(OTHER, name, deadline_s)) as answers:
        async for answer in answers:
            if not isinstance(answer, FileBytes):
                return bytes(data), answer
            assert answer.start == len(data)
            assert len(answer.data) <= RUN_LIMIT
            data += answer.data
            size = answer.size
    assert len(data) == size
    return bytes(data), None


@pytest.mark.parametrize("size", [1, 4096, RUN_LIMIT, RUN_LIMIT + 1, 5 * RUN_LIMIT - 1])
async def test_a_file_comes_as_it_is(peers: Peers, size: int) -> None:
    data = peers.files.files[NAME] = random.Random(size).randbytes(size)
    assert await taken(peers) == (data, None)


async def test_each_folder_is_another(peers: Peers) -> None:
    for folder in Folder:
        peers.files.files[file_name(7, folder)] = folder.name.encode()
    for folder in Folder:
        assert await taken(peers, file_name(7, folder)) == (folder.name.encode(), None)
    assert peers.files.asked == [file_name(7, folder) for folder in Folder]


async def test_what_is_not_there_is_absent(peers: Peers) -> None:
    assert await taken(peers) == (b"", Absent(0))


async def test_what_cannot_be_read_there_is_refused(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: FileName) -> int:
        raise StoreFailed("the disk is ill")

    monkeypatch.setattr(peers.files, "open", fails)
    assert await taken(peers) == (b"", Refused(0, Reason.FAILED, "the disk is ill"))


@pytest.mark.parametrize("data", [b"", b"beyond"])
async def test_what_has_no_size_that_it_may_have_is_refused(
    peers: Peers, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FILE_LIMITS, Folder.LEAVES, 5)
    assert base.FILE_LIMITS is FILE_LIMITS
    peers.files.files[NAME] = data
    got, other = await taken(peers)
    assert not got
    assert isinstance(other, Refused)


async def test_files_and_chunks_are_asked_for_in_turn(peers: Peers) -> None:
    peers.files.files[NAME] = bytes(3 * RUN_LIMIT)
    wanted = ask((0, 0, 8192))
    for _ in range(3):
        assert await taken(peers) == (bytes(3 * RUN_LIMIT), None)
        assert (await collect(peers.transfer, wanted)).data[0] == peers.source.right(wanted.spans[0])
    results = await asyncio.gather(*(taken(peers) for _ in range(6)), collect(peers.transfer, wanted))
    assert len(results) == 7


async def test_who_leaves_early_leaves_nothing_behind(peers: Peers) -> None:
    peers.files.files[NAME] = bytes(64 * RUN_LIMIT)
    async with aclosing(peers.transfer.read_file(OTHER, NAME, 10.0)) as answers:
        await anext(answers)
    peers.files.files[NAME] = b"whole"
    assert await taken(peers) == (b"whole", None)


@pytest.mark.parametrize("wrong", ["unreachable", "lost", "stalled"])
async def test_a_member_that_is_lost_is_unreachable(peers: Peers, wrong: Wrong) -> None:
    peers.files.files[NAME] = bytes(8 * RUN_LIMIT)
    await peers.fail(wrong, 2 * RUN_LIMIT)
    with pytest.raises((MemberUnreachable, MemberBadFrame)):
        await taken(peers)


async def test_no_such_member_is_unreachable(peers: Peers) -> None:
    with pytest.raises(MemberUnreachable):
        await anext(peers.transfer.read_file(NOBODY, NAME, 1.0))


async def test_a_deadline_that_has_passed_ends_it(peers: Peers) -> None:
    peers.files.files[NAME] = bytes(RUN_LIMIT)
    with pytest.raises(DeadlineExceeded):
        await taken(peers, deadline_s=0)


async def test_a_file_that_is_deleted_meanwhile_comes_whole_or_not_at_all(peers: Peers) -> None:
    data = peers.files.files[NAME] = bytes(16 * RUN_LIMIT)
    async with aclosing(peers.transfer.read_file(OTHER, NAME, 10.0)) as answers:
        got = len((await anext(answers)).data)  # type: ignore[union-attr]
        del peers.files.files[NAME]
        async for answer in answers:
            assert isinstance(answer, FileBytes)
            got += len(answer.data)
    assert got == len(data)
    with pytest.raises(NotFound):
        peers.files.open(NAME)
