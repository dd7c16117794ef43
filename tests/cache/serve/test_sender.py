"""The sender over a socket pair: every byte, in order, however the socket takes them."""

import asyncio
import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from forebay_cache.serve.pagecache import PageCache
from forebay_cache.serve.sender import CLIENT_GONE, Sender

DATA = bytes(random.Random(3).randbytes(5 << 20))


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "f").write_bytes(DATA)
    fd = os.open(tmp_path / "f", os.O_RDONLY)
    yield fd
    os.close(fd)


class Line:
    """A sender and the socket at its other end."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.ours, self.theirs = socket.socketpair()
        self.theirs.settimeout(0)
        self.cache = PageCache(loop, 2)
        self.done = asyncio.Event()
        self.failure = ""
        self.sender = Sender(loop, self.ours.fileno(), self.cache, self.done.set, self._failed)

    def _failed(self, reason: str) -> None:
        self.failure = reason
        self.done.set()

    async def read(self, length: int) -> bytes:
        got, loop = bytearray(), asyncio.get_running_loop()
        while len(got) < length:
            got += await asyncio.wait_for(loop.sock_recv(self.theirs, length - len(got)), 10)
        return bytes(got)

    def close(self) -> None:
        self.sender.close()
        self.ours.close()
        self.theirs.close()
        self.cache.close()


@pytest.fixture
async def line():
    made = Line()
    yield made
    made.close()


@pytest.mark.parametrize("cold", [False, True])
async def test_a_head_and_a_run_arrive_in_order(line: Line, file: int, cold: bool) -> None:
    if cold:
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    now = line.sender.send(b"head", file, 100, len(DATA) - 7)
    assert await line.read(4 + len(DATA) - 107) == b"head" + DATA[100:-7]
    if not now:
        await asyncio.wait_for(line.done.wait(), 10)
    assert line.sender.moved == 4 + len(DATA) - 107
    assert not line.sender.waiting


async def test_a_long_head_is_sent_in_parts(line: Line, file: int) -> None:
    head = bytes(random.Random(4).randbytes(3 << 20))
    assert not line.sender.send(head, file, 0, 10)
    assert line.sender.waiting
    assert await line.read(len(head) + 10) == head + DATA[:10]


async def test_several_runs_of_one_answer(line: Line, file: int) -> None:
    reading = asyncio.ensure_future(line.read(3 + 3000))
    assert line.sender.send(b"abc", file, 0, 1000)
    assert line.sender.send_file(file, 1000, 2000)
    assert line.sender.send_file(file, 2000, 3000)
    assert await reading == b"abc" + DATA[:3000]


async def test_a_file_that_ends_early_is_an_error(line: Line, file: int) -> None:
    assert not line.sender.send(b"", file, len(DATA) - 10, len(DATA) + 10, resident=True)
    assert line.failure == "" or "early" in line.failure
    await line.read(10)
    await asyncio.wait_for(line.done.wait(), 10)
    assert line.failure == "the file ends early"


async def test_a_client_that_went_away_is_an_error(line: Line, file: int) -> None:
    line.theirs.close()
    assert not line.sender.send(b"head", file, 0, len(DATA))
    assert line.failure == CLIENT_GONE
    assert line.sender.closed


async def test_after_close_nobody_is_called(line: Line, file: int) -> None:
    assert not line.sender.send(b"head", file, 0, len(DATA), resident=True)
    line.sender.close()
    line.sender.close()
    await asyncio.sleep(0)
    assert not line.done.is_set()
