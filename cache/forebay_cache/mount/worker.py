"""One process that answers the READs of one commit's data devices.

python -m forebay_cache.mount.worker SETTINGS   (JSON; started by mount/session.py, descriptors inherited)

One loop, no threads: a READ of a held chunk is answered where it is read; any other is asked of the member and answered
when that answers, so hits never wait behind misses. It ends when its standard input does, after answering all that waits.
Complaints go to standard error, a line each, at most one a second; the agent logs them.

Hot: a hit is 20 us of Python around three system calls. Several processes, because the disk wants several reads at once.
"""

import errno
import gc
import json
import mmap
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass

from forebay_cache.catalog.devices import decode
from forebay_cache.mount import tally as tallies
from forebay_cache.mount.data_device import ChunkPiece, DataDevices
from forebay_cache.mount.held import HeldChunks
from forebay_cache.mount.link import Link
from forebay_cache.mount.tally import Tally
from forebay_cache.mount.wire import (
    FIRST_NODE,
    IN,
    OUT,
    READ,
    READ_IN,
    READ_LIMIT,
    REQUEST_LIMIT,
    DeviceTree,
    parse,
    refusal,
)

SWEEP_S = 1.0
BATCH = 16
"""Requests taken before the member's answers are looked at again."""
SPARE_BUFFERS = 8


@dataclass(frozen=True, slots=True)
class Settings:
    """What a worker is given: three inherited descriptors and where the member is."""

    channel: int
    devices: int
    tally: int
    member_socket: str
    deadline_s: float
    held_descriptors: int

    def to_json(self) -> str:
        return json.dumps(asdict(self))


class Worker:
    """`channel`: a non-blocking /dev/fuse descriptor (in tests one end of a socket pair)."""

    def __init__(self, channel: int, devices: DataDevices, link: Link, held: HeldChunks, tally: Tally) -> None:
        self._channel = channel
        self._devices = devices
        self._tree = DeviceTree(devices.sizes)
        self._link = link
        self._held = held
        self._tally = tally
        self._request = bytearray(REQUEST_LIMIT)
        self._view = memoryview(self._request)
        self._answer = memoryview(mmap.mmap(-1, READ_LIMIT))
        self._spare: list[memoryview] = []
        self._complained_at = 0.0
        self.ended = False

    # the loop

    def run(self, stop: int) -> None:
        """Serves until `stop` ends or the mount does."""
        epoll = select.epoll()
        epoll.register(self._channel, select.EPOLLIN | select.EPOLLEXCLUSIVE)
        epoll.register(stop, select.EPOLLIN)
        watched, sweep_at = (0, 0), time.monotonic() + SWEEP_S
        while not self.ended:
            watched = self._watch(epoll, watched)
            for fd, events in epoll.poll(self._patience(sweep_at)):
                if fd == self._channel:
                    self.on_requests()
                elif fd == stop:
                    self.ended = True
                else:
                    self._on_link(events)
            self._link.tick()
            if time.monotonic() >= sweep_at:
                self.sweep()
                sweep_at = time.monotonic() + SWEEP_S
        self.close()

    def close(self) -> None:
        """Answers all that waits."""
        self._link.close()
        self._held.close()

    def sweep(self) -> None:
        self._held.sweep()
        self._link.tell_reads(self._held.reads())

    def on_requests(self) -> None:
        """Takes what the kernel has to ask, a bounded number."""
        for _ in range(BATCH):
            try:
                count = os.readv(self._channel, [self._request])
            except BlockingIOError:
                return
            except OSError as exc:
                if exc.errno in (errno.ENOENT, errno.EINTR):
                    continue  # the request was withdrawn while we took it
                self.ended = True  # ENODEV: unmounted
                return
            if not count:
                self.ended = True
                return
            self._serve(count)

    def _watch(self, epoll: select.epoll, watched: tuple[int, int]) -> tuple[int, int]:
        """Registers the member's socket as it is now -> (connection, events)."""
        link = self._link
        events = select.EPOLLIN | (select.EPOLLOUT if link.wants_to_write else 0)
        wanted = (link.connections, events)
        if link.fileno() >= 0 and wanted != watched:
            # a closed socket has left the epoll by itself
            (epoll.modify if watched[0] == wanted[0] else epoll.register)(link.fileno(), events)
            return wanted
        return watched

    def _patience(self, sweep_at: float) -> float | None:
        moments = [moment for moment in (self._link.wake_at(), sweep_at if len(self._held) else None) if moment]
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    def _on_link(self, events: int) -> None:
        if events & select.EPOLLOUT:
            self._link.on_writable()
        if events & ~select.EPOLLOUT:
            self._link.on_readable()

    # requests

    def _serve(self, count: int) -> None:
        try:
            if count >= IN.size + READ_IN.size:
                _, opcode, unique, node, *_ = IN.unpack_from(self._request)
                if opcode == READ:
                    _, offset, length = READ_IN.unpack_from(self._request, IN.size)
                    self._read(unique, node - FIRST_NODE, offset, length)
                    return
            request = parse(self._view[:count])
        except ValueError as exc:
            self.complain(str(exc))
            return
        reply = self._tree.answer(request) if request.opcode != READ else refusal(request.unique, errno.EINVAL)
        if reply is not None:
            self._write(reply)

    def _read(self, unique: int, number: int, offset: int, length: int) -> None:
        started = time.monotonic_ns()
        try:
            length = self._devices.clip(number, offset, length)
            pieces = self._devices.pieces(number, offset, length)
        except IndexError:
            pieces, length = [], READ_LIMIT + 1
        if length > READ_LIMIT:
            self._write(refusal(unique, errno.EINVAL))
            return
        if len(pieces) == 1 and pieces[0].stop - pieces[0].start == length and self._hit(unique, pieces[0], started):
            return
        Reading(self, unique, length, started).begin(pieces, lambda: self._devices.padding(number, offset, length))

    def _hit(self, unique: int, piece: ChunkPiece, started: int) -> bool:
        """Answers from a held descriptor; False where there is none, or it cannot be read."""
        length = piece.stop - piece.start
        view = self._answer[:length]
        try:
            if not self.read_held(piece, view):
                return False
        except OSError as exc:
            self.complain(f"reading a chunk's file: {exc.strerror}")
            return False  # no longer held: the member is asked
        self._write(OUT.pack(OUT.size + length, 0, unique), view)
        self._tally.note(tallies.HIT, length, time.monotonic_ns() - started)
        return True

    # what a Reading needs

    def holds(self, piece: ChunkPiece) -> bool:
        return self._held.get((piece.segment, piece.number)) is not None

    def read_held(self, piece: ChunkPiece, view: memoryview) -> bool:
        """Fills `view` from a held descriptor; False where there is none. Raises OSError."""
        key = (piece.segment, piece.number)
        held = self._held.get(key)
        if held is None:
            return False
        try:
            held.file.read(view, piece.start)
        except OSError:
            self._held.drop(key)
            raise
        held.used = time.monotonic()
        held.reads += 1
        held.bytes += len(view)
        return True

    def hold(self, piece: ChunkPiece, fd: int) -> None:
        self._held.put((piece.segment, piece.number), fd)

    def ask(self, reading: "Reading", piece: ChunkPiece) -> bool:
        return self._link.ask(reading, piece)

    def take_buffer(self) -> memoryview:
        return self._spare.pop() if self._spare else memoryview(mmap.mmap(-1, READ_LIMIT))

    def give_buffer(self, buffer: memoryview) -> None:
        if len(self._spare) < SPARE_BUFFERS:
            self._spare.append(buffer)

    def finish(self, reading: "Reading", view: memoryview | bytes, result: int) -> None:
        self._write(OUT.pack(OUT.size + len(view), 0, reading.unique), view)
        self._tally.note(result, len(view), time.monotonic_ns() - reading.started)

    def fail(self, reading: "Reading", message: str, result: int) -> None:
        self._write(refusal(reading.unique, errno.EIO))
        self._tally.note(result, 0, time.monotonic_ns() - reading.started)
        self.complain(message)

    def complain(self, message: str) -> None:
        now = time.monotonic()
        if now - self._complained_at < 1.0:
            return
        self._complained_at = now
        line = " ".join(message.split())[:1000] + "\n"
        with suppress(OSError):  # nobody reads: the READ has its answer all the same
            os.write(2, line.encode(errors="replace"))

    def _write(self, *parts: bytes | memoryview) -> None:
        try:
            os.writev(self._channel, parts)
        except OSError as exc:
            if exc.errno == errno.ENOENT:
                return  # interrupted, or sent again under another number
            if exc.errno not in (errno.ENODEV, errno.ECONNABORTED, errno.EPIPE):
                self.complain(f"the kernel refused an answer: {exc.strerror}")
            self.ended = self.ended or exc.errno in (errno.ENODEV, errno.EPIPE)


class Reading:
    """One READ that could not be answered at once. Implements link.Asker."""

    __slots__ = ("_buffer", "_missing", "_result", "_worker", "length", "started", "unique")

    def __init__(self, worker: Worker, unique: int, length: int, started: int) -> None:
        self._worker: Worker | None = worker
        self._buffer: memoryview | None = None
        self._missing = 0
        self._result = tallies.HIT
        self.unique = unique
        self.length = length
        self.started = started

    def begin(self, pieces: list[ChunkPiece], padding: Callable[[], bytes]) -> None:
        """Reads what is held, asks for the rest, answers if nothing is missing."""
        worker = self._worker
        assert worker is not None
        if not pieces:
            worker.finish(self, padding(), tallies.PADDING)
            return
        if sum(piece.stop - piece.start for piece in pieces) < self.length:
            self._whole()[:] = padding()
        try:
            asked = [
                piece for piece in pieces if not (worker.holds(piece) and worker.read_held(piece, self.buffer(piece)))
            ]
        except OSError as exc:
            self.failed(pieces[0], f"reading a chunk's file: {exc.strerror}", expired=False)
            return
        self._missing = len(asked)
        if asked:
            self._result = tallies.MISS
        for piece in asked:
            if self._worker is not None and not worker.ask(self, piece):
                self._fail("the member does not answer; failing fast until it does", tallies.REFUSED)
        self._maybe_finish()

    def buffer(self, piece: ChunkPiece) -> memoryview:
        return self._whole()[piece.place : piece.place + piece.stop - piece.start]

    def filled(self, piece: ChunkPiece) -> None:
        self._missing -= 1
        self._maybe_finish()

    def holds(self, piece: ChunkPiece, fd: int) -> None:
        worker = self._worker
        if worker is None:
            os.close(fd)
            return
        worker.hold(piece, fd)
        try:
            worker.read_held(piece, self.buffer(piece))
        except OSError as exc:
            self._fail(f"reading a chunk's file: {exc.strerror}", tallies.ERROR)
            return
        self.filled(piece)

    def failed(self, piece: ChunkPiece, message: str, *, expired: bool) -> None:
        where = f"bytes {piece.start}-{piece.stop} of chunk {piece.segment.hex()[:12]}-{piece.number}"
        self._fail(f"{where}: {message}", tallies.EXPIRED if expired else tallies.ERROR)

    def _whole(self) -> memoryview:
        if self._buffer is None:
            # an answer that comes after the deadline still needs a place to go
            self._buffer = self._worker.take_buffer() if self._worker else memoryview(bytearray(READ_LIMIT))
        return self._buffer[: self.length]

    def _maybe_finish(self) -> None:
        if self._worker is not None and not self._missing:
            self._worker.finish(self, self._whole(), self._result)
            self._release()

    def _fail(self, message: str, result: int) -> None:
        if self._worker is not None:
            self._worker.fail(self, message, result)
            self._worker = None  # its buffer may still be written to: never given back

    def _release(self) -> None:
        if self._worker is not None and self._buffer is not None:
            self._worker.give_buffer(self._buffer)
        self._worker = self._buffer = None


def _open_files() -> int:
    """How many files this process may open, after it has asked for all it can get."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most if most != resource.RLIM_INFINITY else 1 << 20


def main(arguments: list[str]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the agent decides when, by closing our standard input
    settings = Settings(**json.loads(arguments[0]))
    os.set_blocking(2, False)
    table = os.pread(settings.devices, os.fstat(settings.devices).st_size, 0)
    devices = DataDevices(decode(table))
    del table
    held = HeldChunks(min(settings.held_descriptors, _open_files() // 4), time.monotonic)
    link = Link(settings.member_socket, settings.deadline_s, time.monotonic)
    worker = Worker(settings.channel, devices, link, held, Tally(settings.tally))
    gc.freeze()
    worker.run(stop=0)


if __name__ == "__main__":
    main(sys.argv[1:])
