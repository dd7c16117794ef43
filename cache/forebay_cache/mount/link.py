"""A worker's connection to the member: asks for chunk bytes, never blocks, reconnects, and knows when to stop asking.

What is asked waits through a reconnect until its deadline: a member that restarts within it is not seen at all. After one
expiry everything is refused at once until a probe succeeds (FailFast).
"""

import os
import socket
from array import array
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from forebay_cache.contract.wire import (
    BODY_LIMIT,
    CHUNK,
    ERROR,
    HEADER,
    OP_CHUNK,
    OP_READS,
    READS,
    REQUEST_LIMIT,
    ST_BYTES,
    ST_DESCRIPTOR,
    ST_ERROR,
    VERSION,
    WANT_DESCRIPTOR,
)
from forebay_cache.model.failfast import FailFast
from forebay_cache.mount.data_device import ChunkPiece

RECONNECT_S = 0.1
_ERROR_LIMIT = 4096
_ANCILLARY = socket.CMSG_SPACE(8 * 4)


class Asker(Protocol):
    """Who asks. Exactly one of the three is called for each piece that was asked for, `buffer` perhaps before."""

    def buffer(self, piece: ChunkPiece) -> memoryview:
        """Where the piece's bytes go."""
        ...

    def filled(self, piece: ChunkPiece) -> None: ...
    def holds(self, piece: ChunkPiece, fd: int) -> None:
        """A descriptor of the complete chunk, to be closed by the callee."""
        ...

    def failed(self, piece: ChunkPiece, message: str, *, expired: bool) -> None: ...


class _Ask:
    __slots__ = ("asker", "deadline", "number", "piece")

    def __init__(self, number: int, asker: Asker, piece: ChunkPiece, deadline: float) -> None:
        self.number = number
        self.asker = asker
        self.piece = piece
        self.deadline = deadline

    def frame(self) -> bytes:
        piece = self.piece
        body = CHUNK.pack(piece.segment, piece.number, piece.start, piece.stop, WANT_DESCRIPTOR)
        return HEADER.pack(OP_CHUNK, VERSION, len(body), self.number) + body


class ProtocolBroken(Exception):
    """The member sent what it must not. The connection ends; what was asked is asked again."""


class Link:
    """The owner's loop watches `fileno` and calls back. `connections` counts them: a new socket may have the old number."""

    def __init__(self, path: str, deadline_s: float, now: Callable[[], float]) -> None:
        self._path = path
        self._deadline_s = deadline_s
        self._now = now
        self._gate = FailFast(now)
        self._asks: dict[int, _Ask] = {}
        self._number = 0
        self.connections = 0
        self._socket: socket.socket | None = None
        self._retry_at = 0.0
        self._out: deque[bytes] = deque()
        self._sent = 0
        self._in = _Incoming()

    def fileno(self) -> int:
        """-1 while there is no connection."""
        return self._socket.fileno() if self._socket else -1

    @property
    def wants_to_write(self) -> bool:
        return bool(self._out) and self._socket is not None

    def wake_at(self) -> float | None:
        """When `tick` must be called at the latest."""
        if not self._asks:
            return None
        first = next(iter(self._asks.values())).deadline
        return first if self._socket else min(first, self._retry_at)

    def ask(self, asker: Asker, piece: ChunkPiece) -> bool:
        """False: refused at once; the member is failing fast."""
        if not self._gate.admit():
            return False
        self._number += 1
        ask = self._asks[self._number] = _Ask(self._number, asker, piece, self._now() + self._deadline_s)
        self._send(ask.frame())
        return True

    def tell_reads(self, reads: Iterable[tuple[tuple[bytes, int], int, int]]) -> None:
        """Tells the member which chunks were read from held descriptors; lost where there is no connection."""
        rows = [READS.pack(segment, number, count, size) for (segment, number), count, size in reads]
        most = REQUEST_LIMIT // READS.size
        for first in range(0, len(rows), most):
            body = b"".join(rows[first : first + most])
            if self._socket:
                self._send(HEADER.pack(OP_READS, VERSION, len(body), 0) + body)

    def tick(self) -> None:
        """Expires what waited too long, and reconnects."""
        now = self._now()
        while self._asks and (ask := next(iter(self._asks.values()))).deadline <= now:
            del self._asks[ask.number]
            self._gate.expired()
            ask.asker.failed(ask.piece, f"the member did not answer within {self._deadline_s:g} s", expired=True)
        if self._asks and not self._socket and now >= self._retry_at:
            self._connect()

    def on_writable(self) -> None:
        try:
            self._flush()
        except OSError:
            self._lost()

    def on_readable(self) -> None:
        sock = self._socket
        if sock is None:
            return
        try:
            while self._in.receive(sock, self._target):
                self._finish()
        except BlockingIOError:
            pass
        except (OSError, ProtocolBroken):
            self._lost()

    def close(self) -> None:
        """Fails everything that waits."""
        asks, self._asks = self._asks, {}
        self._drop()
        for ask in asks.values():
            ask.asker.failed(ask.piece, "the mount ends", expired=False)

    def _send(self, frame: bytes) -> None:
        if self._socket is None:
            if self._now() >= self._retry_at:
                self._connect()  # sends all that was asked
            return
        self._out.append(frame)
        if len(self._out) == 1:
            self.on_writable()

    def _flush(self) -> None:
        while self._out and self._socket:
            try:
                self._sent += self._socket.send(memoryview(self._out[0])[self._sent :])
            except BlockingIOError:
                return
            if self._sent == len(self._out[0]):
                self._out.popleft()
                self._sent = 0

    def _connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            sock.connect(self._path)
        except OSError:
            sock.close()
            self._retry_at = self._now() + RECONNECT_S
            return
        self._socket = sock
        self.connections += 1
        self._out.extend(ask.frame() for ask in self._asks.values())
        self.on_writable()

    def _lost(self) -> None:
        self._drop()
        self._retry_at = self._now() + RECONNECT_S

    def _drop(self) -> None:
        if self._socket:
            self._socket.close()
        self._socket = None
        self._out.clear()
        self._sent = 0
        self._in.reset()

    def _target(self, status: int, length: int, number: int) -> memoryview:
        """Where the body of an answer goes. Raises ProtocolBroken."""
        ask = self._asks.get(number)
        if status == ST_ERROR and ERROR.size <= length <= _ERROR_LIMIT:
            return memoryview(bytearray(length))
        if status == ST_DESCRIPTOR and not length:
            return memoryview(b"")
        if status == ST_BYTES and ask is None:
            return memoryview(bytearray(length))  # its READ expired
        if status == ST_BYTES and ask is not None and length == ask.piece.stop - ask.piece.start:
            return ask.asker.buffer(ask.piece)
        raise ProtocolBroken(f"status {status} with {length} bytes for request {number}")

    def _finish(self) -> None:
        status, number, body = self._in.status, self._in.number, self._in.body
        fd = self._in.take_descriptor() if status == ST_DESCRIPTOR else -1
        self._gate.answered()
        ask = self._asks.pop(number, None)
        if ask is None:
            if fd >= 0:
                os.close(fd)
        elif status == ST_DESCRIPTOR:
            ask.asker.holds(ask.piece, fd)
        elif status == ST_BYTES:
            ask.asker.filled(ask.piece)
        else:
            ask.asker.failed(ask.piece, bytes(body[ERROR.size :]).decode(errors="replace"), expired=False)


class _Incoming:
    """One answer at a time off the socket: a header, then its body into the place it belongs."""

    def __init__(self) -> None:
        self._header = bytearray(HEADER.size)
        self._descriptors: deque[int] = deque()
        self.body = memoryview(b"")
        self._got = 0
        self._in_body = False
        self.status = self.number = 0

    def receive(self, sock: socket.socket, target: Callable[[int, int, int], memoryview]) -> bool:
        """True: an answer is whole. Raises BlockingIOError when no more is there, ConnectionError at its end."""
        while not self._in_body:
            self._take(sock, memoryview(self._header))
            if self._got == HEADER.size:
                self.status, version, length, self.number = HEADER.unpack(self._header)
                if version != VERSION or length > BODY_LIMIT:
                    raise ProtocolBroken(f"version {version}, {length} bytes")
                self.body, self._got, self._in_body = target(self.status, length, self.number), 0, True
        while self._got < len(self.body):
            self._take(sock, self.body)
        self._got, self._in_body = 0, False
        return True

    def take_descriptor(self) -> int:
        if not self._descriptors:
            raise ProtocolBroken("an answer came without its descriptor")
        return self._descriptors.popleft()

    def reset(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.popleft())
        self._got, self._in_body = 0, False

    def _take(self, sock: socket.socket, view: memoryview) -> None:
        count, ancillary, flags, _ = sock.recvmsg_into([view[self._got :]], _ANCILLARY, socket.MSG_CMSG_CLOEXEC)
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                self._descriptors.extend(array("i", data[: len(data) // 4 * 4]))
        if flags & socket.MSG_CTRUNC:
            raise ProtocolBroken("descriptors were cut off: too many files are open")
        if not count:
            raise ConnectionResetError("the member closed the node socket")
        self._got += count
