"""Asks other members over TCP: a few connections to each, one ask on each at a time.

A connection whose ask did not come to its end is closed: that tells the member to stop, and nothing of one answer can be
taken for another's.
"""

import asyncio
import os
import socket
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager

from forebay_cache.model.errors import DeadlineExceeded, MemberBadFrame, MemberUnreachable
from forebay_cache.model.ids import MemberId
from forebay_cache.transfer import frames, greeting
from forebay_cache.transfer.base import Absent, Answer, Ask, Busy, Came, FileAnswer, FileName
from forebay_cache.transfer.files import FileTally
from forebay_cache.transfer.sums import sums
from forebay_cache.transfer.tally import Tally
from forebay_cache.transfer.tcp.limits import CallerLimits
from forebay_cache.transfer.tcp.stream import Stream

RETRY_AFTER_S = 0.1
_REFUSALS = {
    greeting.Verdict.NO_VERSION: "speaks no version of the protocol that this member speaks; update the older one",
    greeting.Verdict.NO_PROOF: "does not accept this member's cluster key",
    greeting.Verdict.OTHER_MEMBER: "is another member by now",
}
Address = Callable[[MemberId], tuple[str, int] | None]
"""Host and port of a member's peer face; None: no such member."""


class Connection:
    """A greeted stream and the buffer its bytes come into. `version`: which both sides speak. `used_at`: when its last ask
    ended."""

    def __init__(self, stream: Stream, version: int) -> None:
        self.stream = stream
        self.version = version
        self.used_at = 0.0
        self._head = memoryview(bytearray(frames.HEADER.size))
        self._body = memoryview(bytearray(frames.BYTES_LIMIT))  # untouched pages cost nothing

    async def read(self, ask: Ask, left_s: Callable[[], float]) -> AsyncGenerator[Answer, None]:
        """`left_s`: until the ask's deadline; raises DeadlineExceeded."""
        tally = Tally(ask)
        await self.stream.send(frames.put_ask(ask))
        while not tally.done:
            left_s()
            kind, body = await self._frame()
            if kind == frames.K_BYTES:
                came = self._came(body)
                tally.came(came.index, came.start, came.start + len(came.data))
                yield came
            elif kind != frames.K_WAIT:
                other = frames.take_other(kind, body)
                tally.ended(other)
                yield other

    async def read_file(self, name: FileName, left_s: Callable[[], float]) -> AsyncGenerator[FileAnswer, None]:
        """`left_s`: as of `read`."""
        if self.version < frames.FILES_VERSION:
            yield Absent(0)  # it would take the ask for noise
            return
        tally = FileTally()
        await self.stream.send(frames.put_ask_file(name, left_s()))
        while not tally.done:
            left_s()
            kind, body = await self._frame()
            if kind == frames.K_FILE:
                piece = frames.take_file(name.folder, body)
                tally.came(piece)
                yield piece
            elif kind != frames.K_WAIT:
                other = frames.take_other(kind, body)
                tally.ended(other)
                yield other

    async def _frame(self) -> tuple[int, memoryview]:
        """Its kind, and what follows its header; valid until the next one."""
        await self.stream.receive(self._head)
        kind, length = frames.take_header(self._head)
        body = self._body[:length]
        await self.stream.receive(body)
        return kind, body

    def _came(self, body: memoryview) -> Came:
        place = frames.take_place(body, len(body))
        edge = frames.BYTES.size + place.sums_size
        data = body[edge:]
        if sums(data) != body[frames.BYTES.size : edge]:
            raise MemberBadFrame(
                f"{self.stream.peer} sent bytes [{place.start}, {place.stop}) of a chunk that do not match their checksums"
            )
        return Came(place.index, place.start, data)


class _Member:
    """The connections to one member."""

    def __init__(self, limits: CallerLimits) -> None:
        self.idle: deque[Connection] = deque()
        self.free = asyncio.Semaphore(limits.connections)
        self.waiting = 0


class TcpTransfer:
    """Implements Transfer and FileTransfer. Bound to one event loop. `keys`: the cluster's, the one to prove first."""

    def __init__(
        self,
        me: MemberId,
        keys: Sequence[bytes],
        address: Address,
        now: Callable[[], float],
        limits: CallerLimits = CallerLimits(),
    ) -> None:
        if not keys or not all(keys):
            raise ValueError("a cluster key is needed")
        self._me = me
        self._keys = keys
        self._address = address
        self._now = now
        self._limits = limits
        self._members: dict[MemberId, _Member] = {}
        self._open: set[Connection] = set()

    async def read(self, member: MemberId, ask: Ask) -> AsyncGenerator[Answer, None]:
        left_s = self._deadline(member, ask.deadline_s)
        pool = self._members.setdefault(member, _Member(self._limits))
        if pool.waiting >= self._limits.waiting:
            for index in range(len(ask.spans)):
                yield Busy(index, RETRY_AFTER_S)
            return
        async with (
            self._turn(pool, left_s),
            self._connection(member, pool, left_s) as connection,
            aclosing(connection.read(ask, left_s)) as answers,
        ):
            async for answer in answers:
                yield answer

    async def read_file(self, member: MemberId, name: FileName, deadline_s: float) -> AsyncGenerator[FileAnswer, None]:
        left_s = self._deadline(member, deadline_s)
        pool = self._members.setdefault(member, _Member(self._limits))
        if pool.waiting >= self._limits.waiting:
            yield Busy(0, RETRY_AFTER_S)
            return
        async with (
            self._turn(pool, left_s),
            self._connection(member, pool, left_s) as connection,
            aclosing(connection.read_file(name, left_s)) as answers,
        ):
            async for answer in answers:
                yield answer

    async def aclose(self) -> None:
        """Closes every connection; who still reads is told that its member is unreachable."""
        for connection in list(self._open):
            self._close(connection)
        self._members.clear()

    def _deadline(self, member: MemberId, deadline_s: float) -> Callable[[], float]:
        """What gives the seconds that are left from now on; raises DeadlineExceeded."""
        until = self._now() + deadline_s

        def left_s() -> float:
            left = until - self._now()
            if left <= 0:
                raise DeadlineExceeded(f"member {member} did not answer within {deadline_s:.1f} s")
            return left

        return left_s

    @asynccontextmanager
    async def _turn(self, pool: _Member, left_s: Callable[[], float]) -> AsyncIterator[None]:
        """One of the member's connections, or leave to make one."""
        pool.waiting += 1
        try:
            async with asyncio.timeout(left_s()):
                await pool.free.acquire()
        except TimeoutError as exc:
            raise DeadlineExceeded("all connections to a member were taken until the deadline") from exc
        finally:
            pool.waiting -= 1
        try:
            yield
        finally:
            pool.free.release()

    @asynccontextmanager
    async def _connection(
        self, member: MemberId, pool: _Member, left_s: Callable[[], float]
    ) -> AsyncIterator[Connection]:
        connection = self._reused(pool) or await self._connected(member, left_s)
        self._open.add(connection)
        try:
            yield connection
        except BaseException:
            self._close(connection)
            raise
        connection.used_at = self._now()
        pool.idle.append(connection)

    def _reused(self, pool: _Member) -> Connection | None:
        """The one used last; those that went stale are closed."""
        while pool.idle:
            if self._now() - pool.idle[0].used_at > self._limits.idle_s:
                self._close(pool.idle.popleft())
                continue
            connection = pool.idle.pop()
            if connection.stream.fresh:
                return connection
            self._close(connection)
        return None

    def _close(self, connection: Connection) -> None:
        connection.stream.close()
        self._open.discard(connection)

    async def _connected(self, member: MemberId, left_s: Callable[[], float]) -> Connection:
        address = self._address(member)
        if address is None:
            raise MemberUnreachable(f"no member {member} is known")
        peer = f"member {member} at {address[0]}:{address[1]}"
        sock = await _dial(address, min(self._limits.connect_s, left_s()), peer)
        stream = Stream(sock, peer, min(self._limits.connect_s, left_s()))
        try:
            version = await self._greet(stream, member)
        except BaseException:
            stream.close()
            raise
        stream.patience_s = self._limits.silent_s
        return Connection(stream, version)

    async def _greet(self, stream: Stream, member: MemberId) -> int:
        """-> the version that both speak."""
        hello = bytearray(greeting.HELLO_SIZE)
        await stream.receive(memoryview(hello))
        version = greeting.choose_version(hello)
        key = self._keys[0]
        call = greeting.put_call(key, bytes(hello), version, os.urandom(greeting.NONCE_SIZE), (self._me, member))
        await stream.send(call)
        welcome = bytearray(greeting.WELCOME_SIZE)
        await stream.receive(memoryview(welcome))
        verdict = greeting.take_welcome(bytes(welcome), key, bytes(hello), call)
        if verdict != greeting.Verdict.WELCOME:
            raise MemberUnreachable(f"{stream.peer} {_REFUSALS[verdict]}")
        return version


async def _dial(address: tuple[str, int], patience_s: float, peer: str) -> socket.socket:
    loop = asyncio.get_running_loop()
    sock: socket.socket | None = None
    try:
        async with asyncio.timeout(patience_s):
            family, kind, protocol, _, place = (await loop.getaddrinfo(*address, type=socket.SOCK_STREAM))[0]
            sock = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, protocol)
            await loop.sock_connect(sock, place)
    except BaseException as exc:
        if sock is not None:
            sock.close()
        if isinstance(exc, OSError):  # a TimeoutError is one
            raise MemberUnreachable(f"{peer} does not answer: {exc.strerror or 'not in time'}") from exc
        raise
    return sock
