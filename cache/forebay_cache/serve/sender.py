"""Sends bytes and runs of files on one socket, in order; file bytes go by sendfile and never touch Python.

Hot file. Budget: one send and one sendfile for an answer that fits the socket's buffer. It works on a duplicate of the
transport's descriptor, because uvloop lets nobody else wait on its own.
"""

import asyncio
import os
import socket
from collections.abc import Callable

from forebay_cache.serve.pagecache import PageCache

CLIENT_GONE = "client gone"
WINDOW = 1 << 20
"""Bytes of a file that are checked, and read ahead where they are not in the page cache, at a time."""


class Sender:
    """One answer at a time: `send` is True when everything is with the kernel; else `done` is called later, once.

    `failed` is called instead when the client is gone or the file ends early; nothing can be sent after that. `waiting`:
    the client's window is full. `moved`: bytes given to the kernel so far.
    """

    __slots__ = (
        "_at",
        "_cache",
        "_checked",
        "_done",
        "_failed",
        "_fd",
        "_left",
        "_loop",
        "_missing",
        "_out",
        "_socket",
        "_stop",
        "closed",
        "moved",
        "waiting",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        fd: int,
        cache: PageCache,
        done: Callable[[], None],
        failed: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._socket = socket.socket(fileno=os.dup(fd))
        self._socket.settimeout(0)
        self._out = self._socket.fileno()
        self._cache = cache
        self._done = done
        self._failed = failed
        self._left = b""
        self._fd = self._at = self._stop = self._checked = 0
        self._missing = False
        self.moved = 0
        self.waiting = False
        self.closed = False

    def send(self, data: bytes, fd: int = -1, start: int = 0, stop: int = 0, *, resident: bool | None = None) -> bool:
        """`data`, then bytes [start, stop) of `fd`, which must stay open until done. `resident`: what the page cache said
        when it was asked."""
        if resident:
            return self._send_at_once(data, fd, start, stop)
        self._fd, self._at, self._stop, self._checked = fd, start, stop, start
        self._missing = resident is False
        self._left = data
        return self._flush() and self._pump()

    def _send_at_once(self, data: bytes, fd: int, start: int, stop: int) -> bool:
        """The hit that fits the socket's buffer: two calls of the kernel, and nothing is written down. What does not fit
        goes on as any other answer."""
        want, sent, moved = stop - start, 0, 0
        try:
            sent = self._socket.send(data, socket.MSG_MORE)
            if sent == len(data):
                moved = os.sendfile(self._out, fd, start, want)
        except OSError:
            moved = 0  # whoever goes on meets it again, and says so
        self.moved += sent + moved
        if moved == want:
            return True
        self._fd, self._at, self._stop, self._checked = fd, start + moved, stop, stop
        self._missing = False
        self._left = data[sent:]
        return self._wait() if moved else self._flush() and self._pump()

    def send_file(self, fd: int, start: int, stop: int) -> bool:
        """More of the same answer."""
        self._fd, self._at, self._stop, self._checked = fd, start, stop, start
        self._missing = False
        return self._pump()

    def close(self) -> None:
        """Idempotent; sends nothing more, calls nobody."""
        if self.closed:
            return
        self.closed = True
        self._stop_waiting()
        self._socket.close()

    def end_output(self) -> None:
        """Tells the client that nothing follows, while its own bytes are still being read."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self._fail(CLIENT_GONE)

    def _flush(self) -> bool:
        try:
            sent = self._socket.send(self._left, socket.MSG_MORE if self._stop > self._at else 0)
        except BlockingIOError:
            sent = 0
        except OSError:
            return self._fail(CLIENT_GONE)
        self.moved += sent
        if sent == len(self._left):
            self._left = b""
            return True
        self._left = self._left[sent:]
        return self._wait()

    def _pump(self) -> bool:
        while self._at < self._stop:
            if self._at >= self._checked and not self._check():
                return False
            want = self._checked - self._at
            sent = self._sendfile(want)
            if sent < 0:
                return False
            self._at += sent
            self.moved += sent
            if sent < want:
                return self._wait()
        return True

    def _sendfile(self, want: int) -> int:
        """Bytes sent, 0 where the socket is full; -1: failed."""
        try:
            sent = os.sendfile(self._out, self._fd, self._at, want)
        except BlockingIOError:
            return 0
        except ConnectionError:
            self._fail(CLIENT_GONE)
            return -1
        except OSError as exc:
            self._fail(f"read failed: {exc.strerror}")
            return -1
        if not sent:
            self._fail("the file ends early")
            return -1
        return sent

    def _check(self) -> bool:
        edge = min(self._at + WINDOW, self._stop)
        if not self._missing and self._cache.resident(self._fd, self._at, edge):
            self._checked = edge
            return True
        self._missing = False
        self._stop_waiting()
        self._cache.warm(self._fd, self._at, edge, self._warmed)
        return False

    def _warmed(self) -> None:
        if self.closed:
            return
        self._checked = min(self._at + WINDOW, self._stop)
        self._resume()

    def _wait(self) -> bool:
        if not self.waiting:
            self.waiting = True
            self._loop.add_writer(self._out, self._resume)
        return False

    def _resume(self) -> None:
        if (not self._left or self._flush()) and self._pump():
            self._stop_waiting()
            self._done()

    def _stop_waiting(self) -> None:
        if self.waiting:
            self.waiting = False
            self._loop.remove_writer(self._out)

    def _fail(self, reason: str) -> bool:
        self.close()
        self._failed(reason)
        return False
