"""What comes of a file is what is due, or nothing."""

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.rigs.peers import Given, file_name

from forebay_cache.model.errors import MemberBadFrame, NotFound
from forebay_cache.transfer.base import Absent, FileBytes, FileName
from forebay_cache.transfer.files import FileTally, opened


def piece(start: int, stop: int, size: int) -> FileBytes:
    return FileBytes(start, size, memoryview(bytes(stop - start)))


def test_a_file_is_done_with_its_last_byte() -> None:
    tally = FileTally()
    for start in (0, 4, 8):
        assert not tally.done
        tally.came(piece(start, start + 4, 12))
    assert tally.done


@pytest.mark.parametrize("wrong", [piece(0, 4, 12), piece(5, 9, 12), piece(4, 8, 13), piece(8, 12, 12)])
def test_bytes_that_are_not_the_next_are_refused(wrong: FileBytes) -> None:
    tally = FileTally()
    tally.came(piece(0, 4, 12))
    with pytest.raises(MemberBadFrame):
        tally.came(wrong)


def test_an_answer_is_for_the_one_file() -> None:
    tally = FileTally()
    with pytest.raises(MemberBadFrame):
        tally.ended(Absent(1))
    tally.ended(Absent(0))
    assert tally.done


async def test_who_leaves_while_a_file_is_being_opened_leaves_no_descriptor() -> None:
    class Slow(Given):
        def open(self, name: FileName) -> int:
            begun.set()
            go.wait(5)
            return super().open(name)

    async def use() -> None:
        async with opened(source, file_name(1), pool):
            raise AssertionError

    begun, go, source = threading.Event(), threading.Event(), Slow({file_name(1): b"1"})
    with ThreadPoolExecutor(1) as pool:
        before = len(os.listdir("/proc/self/fd"))
        task = asyncio.ensure_future(use())
        await asyncio.to_thread(begun.wait, 5)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()  # and again, as loops that end do
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wrap_future(pool.submit(int))  # the thread is done with it
        await asyncio.sleep(0)
        assert len(os.listdir("/proc/self/fd")) == before
        with pytest.raises(NotFound):
            async with opened(source, file_name(2), pool):
                raise AssertionError
