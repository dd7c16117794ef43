"""One non-blocking socket: whole messages in, messages and runs of files out; every wait has a deadline.

Raw sockets on the loop's readiness callbacks, because file bytes must go by `sendfile`, and received ones straight into their
buffer; asyncio's streams copy both.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress

from forebay_cache.model.errors import MemberUnreachable, StoreFailed

_LOW_WATER = 256 << 10
"""While more than this is due, the loop is woken once for as much, not for each packet."""


class Stream:
    """`peer`: who it is, for messages. `patience_s`: longest wait for one readiness; may be changed at any time.

    Every call raises MemberUnreachable when the other side is gone or silent; nothing can be done with it after that."""

    def __init__(self, sock: socket.socket, peer: str, patience_s: float) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.peer = peer
        self.patience_s = patience_s
        self._socket = sock
        self._fd = sock.fileno()
        self._loop = asyncio.get_running_loop()
        self._low_water = 1
        self._wait: asyncio.Future[None] | None = None

    def close(self) -> None:
        """Idempotent. Whoever waits is told."""
        if self._wait is not None and not self._wait.done():
            self._wait.set_exception(MemberUnreachable(f"the connection with {self.peer} was closed"))
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
            self._socket.close()

    @property
    def fresh(self) -> bool:
        """Whether the other side neither left nor said anything unasked."""
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    async def receive(self, view: memoryview) -> None:
        """Fills `view`."""
        while view:
            try:
                count = self._socket.recv_into(view)
            except BlockingIOError:
                await self._readable(len(view))
                continue
            except OSError as exc:
                raise self._lost(exc) from exc
            if not count:
                raise MemberUnreachable(f"{self.peer} closed the connection")
            view = view[count:]

    async def send(self, data: bytes, *, more: bool = False) -> None:
        """`more`: what follows belongs to the same packet."""
        view = memoryview(data)
        while view:
            try:
                view = view[self._socket.send(view, socket.MSG_MORE if more else 0) :]
            except BlockingIOError:
                await self._writable()
            except OSError as exc:
                raise self._lost(exc) from exc

    def send_now(self, data: bytes) -> bool:
        """All of it without waiting; False: not a byte was sent, or the other side is gone."""
        with suppress(OSError):
            return self._socket.send(data) == len(data)
        return False

    async def send_file(self, fd: int, start: int, stop: int) -> None:
        """Bytes [start, stop) of `fd`. Raises StoreFailed when the file cannot give them."""
        while start < stop:
            try:
                count = os.sendfile(self._fd, fd, start, stop - start)
            except BlockingIOError:
                await self._writable()
                continue
            except ConnectionError as exc:
                raise self._lost(exc) from exc
            except OSError as exc:
                raise StoreFailed(f"sending bytes at {start} of a chunk: {exc.strerror}") from exc
            if not count:
                raise StoreFailed(f"a chunk's file ends at {start}, before {stop}")
            start += count

    def watch(self, worker: asyncio.Task[None]) -> None:
        """Cancels `worker` when the other side leaves while nobody receives. `unwatch` before the next `receive`."""
        self._loop.add_reader(self._fd, self._look, worker)

    def unwatch(self) -> None:
        self._loop.remove_reader(self._fd)

    def _look(self, worker: asyncio.Task[None]) -> None:
        try:
            left = not self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            left = True
        self.unwatch()  # either way: what it says now belongs to the next ask
        if left:
            worker.cancel()

    async def _readable(self, due: int) -> None:
        low_water = _LOW_WATER if due > 2 * _LOW_WATER else 1
        if low_water != self._low_water:
            self._low_water = low_water
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, low_water)
        await self._ready(self._loop.add_reader, self._loop.remove_reader)

    async def _writable(self) -> None:
        await self._ready(self._loop.add_writer, self._loop.remove_writer)

    async def _ready(self, add: Callable[..., None], remove: Callable[[int], object]) -> None:
        self._wait = ready = self._loop.create_future()
        add(self._fd, _set, ready)
        try:
            async with asyncio.timeout(self.patience_s):
                await ready
        except TimeoutError as exc:
            raise MemberUnreachable(f"{self.peer} was silent for {self.patience_s:.1f} s") from exc
        finally:
            self._wait = None
            if self._socket.fileno() >= 0:  # the number may be another's by now
                remove(self._fd)

    def _lost(self, exc: OSError) -> MemberUnreachable:
        return MemberUnreachable(f"the connection with {self.peer} broke: {exc.strerror or exc}")


def _set(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)
