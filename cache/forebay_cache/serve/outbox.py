"""Sends messages, with descriptors where they have one, over a raw non-blocking unix socket, in order."""

import asyncio
import os
import socket
from array import array
from collections import deque
from collections.abc import Callable, Sequence


class _Message:
    """`sent` is done when the kernel has all of it, or the socket is gone. The descriptor is our own copy."""

    __slots__ = ("_fd", "_parts", "sent")

    def __init__(self, parts: Sequence[bytes | bytearray], fd: int, sent: asyncio.Future[None] | None) -> None:
        self._parts = [memoryview(part) for part in parts]
        self._fd = fd
        self.sent = sent

    def send(self, sock: socket.socket) -> None:
        """All of it. Raises BlockingIOError (call again), OSError."""
        while self._parts:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [self._fd]))] if self._fd >= 0 else []
            count = sock.sendmsg(self._parts, rights)
            self._close_descriptor()
            while self._parts and count >= len(self._parts[0]):
                count -= len(self._parts.pop(0))
            if count:
                self._parts[0] = self._parts[0][count:]

    def end(self) -> None:
        self._close_descriptor()
        if self.sent is not None and not self.sent.done():
            self.sent.set_result(None)

    def _close_descriptor(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class Outbox:
    """Bound to one event loop. `lost` is told when the peer is gone."""

    def __init__(self, sock: socket.socket, lost: Callable[[], None]) -> None:
        self._socket = sock
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._messages: deque[_Message] = deque()

    def send(self, *parts: bytes | bytearray) -> None:
        self._put(_Message(parts, -1, None))

    def send_descriptor(self, part: bytes, fd: int) -> None:
        """The caller keeps and closes `fd`. Raises OSError when no descriptor is left."""
        self._put(_Message([part], os.dup(fd), None))

    async def send_all(self, *parts: bytes | bytearray) -> None:
        """Returns when the kernel has taken it, or the peer is gone."""
        sent = self._loop.create_future()
        self._put(_Message(parts, -1, sent))
        await sent

    def close(self) -> None:
        """Drops what is unsent. The socket is its owner's to close, afterwards."""
        self._loop.remove_writer(self._socket.fileno())
        while self._messages:
            self._messages.popleft().end()

    def _put(self, message: _Message) -> None:
        if self._socket.fileno() < 0:
            message.end()
            return
        self._messages.append(message)
        if len(self._messages) == 1:
            self._flush()

    def _flush(self) -> None:
        try:
            while self._messages:
                self._messages[0].send(self._socket)
                self._messages.popleft().end()
        except BlockingIOError:
            self._loop.add_writer(self._socket.fileno(), self._flush)
        except OSError:
            self._lost()
        else:
            self._loop.remove_writer(self._socket.fileno())
