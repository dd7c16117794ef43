import os
import random
from collections.abc import Iterator

import pytest
from tests.cache.mount.conftest import Clock, HandMember

from forebay_cache.contract import wire
from forebay_cache.model.failfast import PROBE_S
from forebay_cache.model.ids import SegmentId
from forebay_cache.mount.data_device import ChunkPiece
from forebay_cache.mount.link import RECONNECT_S, Link

SEGMENT = SegmentId(b"s" * 32)
DEADLINE_S = 10.0


class Asker:
    """Remembers how its pieces ended."""

    def __init__(self) -> None:
        self.data = bytearray(1 << 20)
        self.ends: list[str] = []

    def buffer(self, piece: ChunkPiece) -> memoryview:
        return memoryview(self.data)[piece.place : piece.place + piece.stop - piece.start]

    def filled(self, piece: ChunkPiece) -> None:
        self.ends.append(f"filled {bytes(self.buffer(piece)[:4]).decode()}")

    def holds(self, piece: ChunkPiece, fd: int) -> None:
        self.ends.append(f"holds {os.pread(fd, 1, 4096)!r}")
        os.close(fd)

    def failed(self, piece: ChunkPiece, message: str, *, expired: bool) -> None:
        self.ends.append(f"{'expired' if expired else 'failed'}: {message}")


@pytest.fixture
def link(member: HandMember, clock: Clock) -> Iterator[Link]:
    one = Link(str(member.path), DEADLINE_S, clock)
    yield one
    one.close()


def piece(start: int = 0, stop: int = 4096) -> ChunkPiece:
    return ChunkPiece(SEGMENT, 3, start, stop, 0)


def test_bytes_descriptors_and_errors_arrive_in_any_order(link: Link, member: HandMember, chunk_fd: int) -> None:
    askers = [Asker() for _ in range(3)]
    for number, asker in enumerate(askers):
        assert link.ask(asker, piece(number * 4096, number * 4096 + 4096))
    requests = [member.request() for _ in askers]
    assert [wire.CHUNK.unpack(body) for _, _, body in requests] == [
        (SEGMENT, 3, number * 4096, number * 4096 + 4096, wire.WANT_DESCRIPTOR) for number in range(3)
    ]
    numbers = [number for _, number, _ in requests]
    member.error(numbers[2], "gone: key x")
    member.answer(wire.ST_DESCRIPTOR, numbers[1], fd=chunk_fd)
    member.answer(wire.ST_BYTES, numbers[0], b"four" + bytes(4092))
    link.on_readable()
    assert [asker.ends for asker in askers] == [["filled four"], ["holds b'\\x01'"], ["failed: gone: key x"]]
    assert link.wake_at() is None


def test_an_answer_in_small_packets_is_put_together(link: Link, member: HandMember) -> None:
    asker = Asker()
    link.ask(asker, piece())
    _, number, _ = member.request()
    data = wire.HEADER.pack(wire.ST_BYTES, wire.VERSION, 4096, number) + b"abcd" * 1024
    for at in range(0, len(data), 7):
        member.send(data[at : at + 7])
        link.on_readable()
    assert asker.ends == ["filled abcd"]


def test_without_an_answer_a_read_expires_and_the_next_fail_fast(link: Link, member: HandMember, clock: Clock) -> None:
    asker = Asker()
    link.ask(asker, piece())
    assert link.wake_at() == clock.time + DEADLINE_S
    clock.time += DEADLINE_S - 0.001
    link.tick()
    assert asker.ends == []
    clock.time += 0.001
    link.tick()
    assert asker.ends == ["expired: the member did not answer within 10 s"]
    assert not link.ask(asker, piece())


def test_after_an_expiry_one_probe_heals(link: Link, member: HandMember, clock: Clock) -> None:
    first, probe, late = Asker(), Asker(), Asker()
    link.ask(first, piece())
    clock.time += DEADLINE_S
    link.tick()
    clock.time += PROBE_S
    assert link.ask(probe, piece())
    assert not link.ask(late, piece())
    _, old, _ = member.request()
    _, number, _ = member.request()
    member.answer(wire.ST_BYTES, old, b"late" * 1024)
    member.answer(wire.ST_BYTES, number, b"good" * 1024)
    link.on_readable()
    assert (first.ends[1:], probe.ends) == ([], ["filled good"])
    assert link.ask(late, piece())


def test_a_member_that_restarts_in_time_is_asked_again(link: Link, member: HandMember, clock: Clock) -> None:
    asker = Asker()
    link.ask(asker, piece())
    member.request()
    member.stop()
    link.on_readable()
    assert link.fileno() == -1
    member.start()
    link.tick()
    assert link.fileno() == -1  # not at once: it may be starting
    clock.time += RECONNECT_S
    link.tick()
    _, number, _ = member.request()
    member.answer(wire.ST_BYTES, number, b"back" * 1024)
    link.on_readable()
    assert asker.ends == ["filled back"]


def test_no_member_at_all_is_an_expiry(link: Link, member: HandMember, clock: Clock) -> None:
    member.stop()
    member.path.unlink()
    asker = Asker()
    assert link.ask(asker, piece())
    assert link.wake_at() == clock.time + RECONNECT_S
    clock.time += DEADLINE_S
    link.tick()
    assert len(asker.ends) == 1


@pytest.mark.parametrize(
    "answer",
    [
        wire.HEADER.pack(wire.ST_BYTES, wire.VERSION, 4095, 1),
        wire.HEADER.pack(wire.ST_BYTES, wire.VERSION + 1, 4096, 1),
        wire.HEADER.pack(wire.ST_BYTES, wire.VERSION, 1 << 30, 1),
        wire.HEADER.pack(wire.ST_DESCRIPTOR, wire.VERSION, 0, 1),  # without one
        wire.HEADER.pack(99, wire.VERSION, 0, 1),
        wire.HEADER.pack(wire.ST_ERROR, wire.VERSION, 2, 1) + b"xx",
    ],
)
def test_a_broken_answer_ends_the_connection_and_is_asked_for_again(
    link: Link, member: HandMember, clock: Clock, answer: bytes
) -> None:
    asker = Asker()
    link.ask(asker, piece())
    member.request()
    member.send(answer)
    link.on_readable()
    assert (link.fileno(), asker.ends) == (-1, [])
    clock.time += RECONNECT_S
    link.tick()
    member.accept()
    _, number, _ = member.request()
    member.answer(wire.ST_BYTES, number, b"fine" * 1024)
    link.on_readable()
    assert asker.ends == ["filled fine"]


def test_random_answers_never_break_the_worker(link: Link, member: HandMember, clock: Clock, chunk_fd: int) -> None:
    seed = 20261121
    print("seed", seed)
    chance, asker = random.Random(seed), Asker()
    for _ in range(60):
        clock.time += RECONNECT_S
        link.ask(asker, piece())
        link.tick()
        if link.fileno() < 0:
            continue
        member.accept()
        member.send(chance.randbytes(chance.randrange(1, 60)), chunk_fd if chance.random() < 0.5 else None)
        link.on_readable()
        member.stop()
        member.start()
        link.on_readable()
    link.close()
    assert all(end.startswith(("expired", "failed")) for end in asker.ends)


def test_reads_from_descriptors_are_told(link: Link, member: HandMember) -> None:
    link.tell_reads([((SEGMENT, 1), 2, 3)])  # nobody is connected: lost
    link.ask(Asker(), piece())
    member.request()
    link.tell_reads(((SEGMENT, number), 2, number * 10) for number in range(2000))
    rows: list[tuple[bytes, int, int, int]] = []
    while len(rows) < 2000:
        link.on_writable()
        operation, _, body = member.request()
        assert operation == wire.OP_READS
        rows += wire.READS.iter_unpack(body)
    assert rows[1999] == (SEGMENT, 1999, 2, 19990)


def test_closing_answers_all_that_waits(link: Link) -> None:
    asker = Asker()
    link.ask(asker, piece())
    link.close()
    assert asker.ends == ["failed: the mount ends"]
