"""A worker over a socket pair instead of /dev/fuse, and a member spoken by hand."""

import errno
import os
import socket
import struct
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.cache.mount.conftest import Clock, HandMember

from forebay_cache.catalog import devices as tables
from forebay_cache.contract import wire as node
from forebay_cache.model.ids import CHUNK_SIZE, CommitId, SegmentId
from forebay_cache.mount import tally as tallies
from forebay_cache.mount import wire
from forebay_cache.mount.data_device import DataDevices
from forebay_cache.mount.held import HeldChunks
from forebay_cache.mount.link import Link
from forebay_cache.mount.tally import Tally, new_tally_file
from forebay_cache.mount.worker import Worker

SEGMENT = SegmentId(b"s" * 32)
DEVICES = DataDevices(tables.plan(CommitId("c" * 64), {SEGMENT: 3 * CHUNK_SIZE}))
DATA = tables.PADDING
"""Where the segment begins on device 0."""


class Kernel:
    """The kernel's side of one worker."""

    def __init__(self, member: HandMember, clock: Clock) -> None:
        self.ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20)
        self.ours.setblocking(False)
        theirs.setblocking(False)
        self.theirs = theirs
        self.tally_fd = new_tally_file()
        self.tally = Tally(self.tally_fd)
        self.link = Link(str(member.path), 10.0, clock)
        self.held = HeldChunks(8, clock)
        self.worker = Worker(theirs.fileno(), DEVICES, self.link, self.held, self.tally)

    def read(self, unique: int, offset: int, length: int, number: int = 0) -> None:
        body = wire.READ_IN.pack(0, offset, length) + bytes(20)
        self.send(wire.IN.pack(wire.IN.size + len(body), wire.READ, unique, number + 2, 0, 0, 0, 0, 0) + body)

    def send(self, message: bytes) -> None:
        self.ours.send(message)
        self.worker.on_requests()

    def reply(self) -> tuple[int, int, bytes]:
        """Unique, errno, bytes."""
        data = self.ours.recv(2 << 20)
        length, number, unique = wire.OUT.unpack_from(data)
        assert length == len(data)
        return unique, -number, data[wire.OUT.size :]

    def close(self) -> None:
        self.worker.close()
        self.ours.close()
        self.theirs.close()
        os.close(self.tally_fd)


@pytest.fixture
def kernel(member: HandMember, clock: Clock) -> Iterator[Kernel]:
    one = Kernel(member, clock)
    yield one
    one.close()


def test_padding_is_answered_without_anyone(kernel: Kernel) -> None:
    kernel.read(1, 0, 8192)
    unique, number, data = kernel.reply()
    assert (unique, number) == (1, 0)
    assert data == tables.identity(CommitId("c" * 64), 0) + bytes(4096)
    kernel.read(2, DEVICES.sizes[0] - 4096, 8192)
    assert kernel.reply() == (2, 0, bytes(4096))
    assert kernel.tally.totals().results[tallies.PADDING] == 2


def test_a_miss_is_asked_of_the_member_and_its_descriptor_held(
    kernel: Kernel, member: HandMember, chunk_fd: int
) -> None:
    kernel.read(1, DATA + CHUNK_SIZE + 8192, 4096)
    _, number, body = member.request()
    assert node.CHUNK.unpack(body)[:4] == (SEGMENT, 1, 8192, 12288)
    member.answer(node.ST_DESCRIPTOR, number, fd=chunk_fd)
    kernel.link.on_readable()
    assert kernel.reply() == (1, 0, bytes([2]) * 4096)
    kernel.read(2, DATA + CHUNK_SIZE + 16384, 4096)
    assert kernel.reply() == (2, 0, bytes([4]) * 4096)
    assert kernel.tally.totals().results[:2] == [1, 1]
    kernel.worker.sweep()
    operation, _, body = member.request()
    assert (operation, node.READS.unpack(body)) == (node.OP_READS, (SEGMENT, 1, 2, 8192))


def test_a_hit_never_waits_behind_a_miss(kernel: Kernel, member: HandMember, chunk_fd: int) -> None:
    kernel.held.put((SEGMENT, 0), os.dup(chunk_fd))
    kernel.read(1, DATA + CHUNK_SIZE, 4096)  # the member says nothing
    kernel.read(2, DATA, 4096)
    assert kernel.reply()[:2] == (2, 0)


def test_a_read_over_padding_and_chunks_is_put_together(kernel: Kernel, member: HandMember, chunk_fd: int) -> None:
    kernel.held.put((SEGMENT, 0), os.dup(chunk_fd))
    kernel.read(1, DATA - 8192, 16384)
    assert kernel.reply() == (1, 0, bytes(8192) + bytes(4096) + bytes([1]) * 4096)
    kernel.read(2, DATA + CHUNK_SIZE - 4096, 8192)
    _, number, body = member.request()
    assert node.CHUNK.unpack(body)[:4] == (SEGMENT, 1, 0, 4096)
    member.answer(node.ST_BYTES, number, b"m" * 4096)
    kernel.link.on_readable()
    assert kernel.reply() == (2, 0, bytes([2047 % 251]) * 4096 + b"m" * 4096)


def test_the_members_error_is_an_io_error(kernel: Kernel, member: HandMember) -> None:
    kernel.read(1, DATA, 4096)
    _, number, _ = member.request()
    member.error(number, "gone")
    kernel.link.on_readable()
    assert kernel.reply() == (1, errno.EIO, b"")


def test_every_read_is_answered_within_the_deadline(kernel: Kernel, clock: Clock) -> None:
    kernel.read(1, DATA + CHUNK_SIZE - 4096, 8192)  # two pieces, one answer
    clock.time += 10.0
    kernel.link.tick()
    assert kernel.reply() == (1, errno.EIO, b"")
    kernel.read(2, DATA, 4096)
    assert kernel.reply() == (2, errno.EIO, b"")
    with pytest.raises(BlockingIOError):
        kernel.reply()
    totals = kernel.tally.totals().results
    assert (totals[tallies.EXPIRED], totals[tallies.REFUSED]) == (1, 1)


def test_what_waits_is_answered_at_the_end(kernel: Kernel) -> None:
    kernel.read(1, DATA, 4096)
    kernel.worker.close()
    assert kernel.reply() == (1, errno.EIO, b"")


def test_a_chunk_file_that_is_cut_short_is_not_kept_and_the_member_asked(
    kernel: Kernel, member: HandMember, tmp_path: os.PathLike[str]
) -> None:
    path = os.path.join(tmp_path, "short")
    with open(path, "wb") as file:
        file.write(bytes(5000))
    kernel.held.put((SEGMENT, 0), os.open(path, os.O_RDONLY))
    kernel.read(1, DATA + 4096, 4096)
    assert kernel.held.get((SEGMENT, 0)) is None
    _, number, _ = member.request()
    member.answer(node.ST_BYTES, number, b"m" * 4096)
    kernel.link.on_readable()
    assert kernel.reply() == (1, 0, b"m" * 4096)


@pytest.mark.parametrize(("number", "length"), [(4, 4096), (60, 4096), (-1, 4096), (0, (1 << 20) + 1)])
def test_reads_that_make_no_sense_are_refused(kernel: Kernel, number: int, length: int) -> None:
    kernel.read(1, DATA, length, number)
    unique, status, data = kernel.reply()
    assert unique == 1
    assert status == errno.EINVAL or not data


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.binary(min_size=1, max_size=120))
def test_no_message_ends_the_worker(kernel: Kernel, data: bytes) -> None:
    head = struct.pack("<I", len(data))
    kernel.send((head + data[4:])[: len(data)] if len(data) > 4 else data)
    assert not kernel.worker.ended
    while True:
        try:
            kernel.reply()
        except BlockingIOError:
            break


def test_it_runs_until_its_input_ends(member: HandMember, clock: Clock, chunk_fd: int) -> None:
    kernel = Kernel(member, time.monotonic)  # type: ignore[arg-type]  a clock is a clock
    stop, say_stop = os.pipe()
    try:
        kernel.held.put((SEGMENT, 0), os.dup(chunk_fd))
        body = wire.READ_IN.pack(0, DATA, 4096)
        kernel.ours.send(wire.IN.pack(60, wire.READ, 5, 2, 0, 0, 0, 0, 0) + body)
        os.close(say_stop)
        kernel.worker.run(stop)
        assert kernel.reply()[0] == 5
    finally:
        kernel.ours.close()
        kernel.theirs.close()
        os.close(kernel.tally_fd)
        os.close(stop)
