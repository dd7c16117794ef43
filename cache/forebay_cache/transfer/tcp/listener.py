"""Answers other members over TCP: bytes go from the page cache to the socket by `sendfile`."""

import asyncio
import logging
import os
import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field, replace

from forebay_cache.model.errors import ConfigError, ForebayError, MemberBadFrame, MemberUnreachable, StoreFailed
from forebay_cache.model.ids import BLOCK_SIZE, MemberId
from forebay_cache.transfer import frames, greeting
from forebay_cache.transfer.answers import answers
from forebay_cache.transfer.base import (
    RUN_LIMIT,
    Absent,
    Ask,
    Busy,
    FileName,
    FileSource,
    Other,
    Reason,
    Refused,
    Run,
    Source,
    WrongEpoch,
)
from forebay_cache.transfer.files import opened, refusal, size_of
from forebay_cache.transfer.sums import SUM_SIZE, file_sums
from forebay_cache.transfer.tcp.disk import warm
from forebay_cache.transfer.tcp.limits import ListenerLimits
from forebay_cache.transfer.tcp.stream import Stream

log = logging.getLogger("forebay.transfer")
RETRY_AFTER_S = 0.2
_KINDS: dict[type[Other], str] = {Absent: "absent", Busy: "busy", WrongEpoch: "wrong_epoch", Refused: "refused"}


@dataclass(slots=True)
class ListenerCounts:
    """Since the start. Answers by kind: bytes, file, absent, busy, wrong_epoch, refused."""

    connections: int = 0
    asks: int = 0
    sent_bytes: int = 0
    answers: dict[tuple[str, ...], float] = field(default_factory=dict)

    def add(self, kind: str) -> None:
        self.answers[kind,] = self.answers.get((kind,), 0) + 1


@dataclass(slots=True, repr=False)
class Parts:
    """What all connections share. `files`: None, while this member gives none."""

    me: MemberId
    keys: Sequence[bytes]
    source: Source
    limits: ListenerLimits
    pool: ThreadPoolExecutor
    counts: ListenerCounts = field(default_factory=ListenerCounts)
    files: FileSource | None = None


async def start_listener(
    me: MemberId,
    keys: Sequence[bytes],
    source: Source,
    address: tuple[str, int],
    limits: ListenerLimits = ListenerLimits(),
) -> "Listener":
    """Listens until `aclose`; port 0 takes a free one. Raises ConfigError."""
    if not keys or not all(keys):
        raise ConfigError("the peer port needs a cluster key")
    try:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        listener = socket.create_server(address, family=family, backlog=1024)
    except OSError as exc:
        raise ConfigError(f"the peer port {address[0]}:{address[1]} cannot be had: {exc.strerror or exc}") from exc
    listener.setblocking(False)  # noqa: FBT003  the socket module's own signature
    return Listener(listener, Parts(me, keys, source, limits, ThreadPoolExecutor(limits.warming, "peer-disk")))


class Listener:
    """Made by `start_listener`."""

    def __init__(self, listener: socket.socket, parts: Parts) -> None:
        self._listener = listener
        self._parts = parts
        self._connections: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(listener.fileno(), self._on_connection)

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def counts(self) -> ListenerCounts:
        return self._parts.counts

    def give_files(self, files: FileSource) -> None:
        """From now on, catalog files as well."""
        self._parts.files = files

    async def aclose(self) -> None:
        """Stops listening and ends every connection. Idempotent."""
        if self._listener.fileno() < 0:
            return
        self._loop.remove_reader(self._listener.fileno())
        self._listener.close()
        for connection in self._connections:
            connection.cancel()
        if self._connections:
            await asyncio.wait(self._connections)
        self._parts.pool.shutdown()

    def _on_connection(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError:
            log.exception("accepting on the peer port failed")
            return
        if len(self._connections) >= self._parts.limits.connections:
            log.warning("connection to the peer port refused", extra={"open": len(self._connections)})
            sock.close()
            return
        sock.setblocking(False)  # noqa: FBT003  the socket module's own signature
        stream = Stream(sock, f"the caller at {_peer(sock)}", self._parts.limits.greeting_s)
        task = self._loop.create_task(_Connection(stream, self._parts).serve())
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)


class _Connection:
    """One caller's connection, from its greeting to its end."""

    def __init__(self, stream: Stream, parts: Parts) -> None:
        self._stream = stream
        self._parts = parts
        self._quiet = False  # nothing was said since the last WAIT was due
        self._within = False  # in the middle of a frame

    async def serve(self) -> None:
        self._parts.counts.connections += 1
        try:
            caller = await self._greet()
            while True:
                self._stream.patience_s = self._parts.limits.idle_s
                ask = await self._next()
                self._stream.patience_s = self._parts.limits.stalled_s
                await self._attend(caller, ask)
        except MemberUnreachable as exc:
            log.debug("a peer's connection ended", extra={"detail": str(exc)})
        except (MemberBadFrame, StoreFailed) as exc:
            log.warning("a peer's connection was ended", extra={"peer": self._stream.peer, "detail": str(exc)})
        except Exception:
            log.exception("answering a peer failed", extra={"peer": self._stream.peer})
        finally:
            self._parts.counts.connections -= 1
            self._stream.close()

    async def _greet(self) -> MemberId:
        parts = self._parts
        hello = greeting.put_hello(os.urandom(greeting.NONCE_SIZE))
        data = bytearray(greeting.CALL_SIZE)
        try:
            async with asyncio.timeout(parts.limits.greeting_s):
                await self._stream.send(hello)
                await self._stream.receive(memoryview(data))
        except TimeoutError as exc:
            raise MemberUnreachable(f"{self._stream.peer} was too slow to say who it is") from exc
        call = greeting.take_call(bytes(data))
        verdict, key = greeting.judge(parts.keys, parts.me, hello, call)
        await self._stream.send(greeting.put_welcome(verdict, key, hello, call))
        if verdict != greeting.Verdict.WELCOME:
            raise MemberBadFrame(f"a greeting ended with {verdict.name}")
        return call.caller

    async def _next(self) -> Ask | tuple[FileName, float]:
        head = bytearray(frames.HEADER.size)
        await self._stream.receive(memoryview(head))
        kind, length = frames.take_header(head)
        if kind not in (frames.K_ASK, frames.K_ASK_FILE):
            raise MemberBadFrame(f"frame of kind {kind} where an ask is due")
        body = bytearray(length)
        self._stream.patience_s = self._parts.limits.stalled_s
        await self._stream.receive(memoryview(body))
        return frames.take_ask(body) if kind == frames.K_ASK else frames.take_ask_file(body)

    async def _attend(self, caller: MemberId, ask: Ask | tuple[FileName, float]) -> None:
        parts = self._parts
        if parts.counts.asks >= parts.limits.asks:
            for index in range(len(ask.spans) if isinstance(ask, Ask) else 1):
                await self._say(Busy(index, RETRY_AFTER_S))
            return
        parts.counts.asks += 1
        try:
            with self._attention():
                if isinstance(ask, Ask):
                    async with aclosing(answers(parts.source, caller, ask)) as found:
                        async for one in found:
                            await self._give(one)
                else:
                    await self._give_file(*ask)
        finally:
            parts.counts.asks -= 1

    async def _give_file(self, name: FileName, deadline_s: float) -> None:
        parts, until = self._parts, asyncio.get_running_loop().time() + deadline_s
        if parts.files is None:
            await self._say(Absent(0))
            return
        try:
            async with opened(parts.files, name, parts.pool) as fd:
                size = size_of(fd, name)
                for at in range(0, size, RUN_LIMIT):
                    if asyncio.get_running_loop().time() >= until:
                        await self._say(Refused(0, Reason.DEADLINE, f"not within {deadline_s:.1f} s"))
                        return
                    await self._send_piece(fd, at, size)
        except MemberUnreachable:
            raise
        except ForebayError as exc:
            if self._within:
                raise  # nothing can be said in the middle of a frame
            await self._say(refusal(exc))

    async def _send_piece(self, fd: int, start: int, size: int) -> None:
        """What comes at once of a file, from `start`."""
        stop = min(size, start + RUN_LIMIT)
        await warm(fd, start, stop, self._parts.pool)
        self._within = True
        await self._stream.send(frames.put_file(start, stop, size), more=True)
        await self._stream.send_file(fd, start, stop)
        self._within = self._quiet = False
        self._parts.counts.sent_bytes += stop - start
        self._parts.counts.add("file")

    async def _give(self, one: Run | Other) -> None:
        if not isinstance(one, Run):
            await self._say(one)
            return
        for at in range(one.start, one.stop, RUN_LIMIT):
            await self._send_run(replace(one, start=at, stop=min(one.stop, at + RUN_LIMIT)))

    async def _send_run(self, run: Run) -> None:
        await warm(run.fd, run.start, run.stop, self._parts.pool)
        if run.sums_at >= 0:
            first, last = (run.sums_at + at // BLOCK_SIZE * SUM_SIZE for at in (run.start, run.stop))
            await warm(run.fd, first, last, self._parts.pool)
        try:
            sums = file_sums(run)
        except OSError as exc:
            raise StoreFailed(f"reading the checksums of a chunk: {exc.strerror}") from exc
        self._within = True
        await self._stream.send(frames.put_bytes(frames.Place(run.index, run.start, run.stop), sums), more=True)
        await self._stream.send_file(run.fd, run.start, run.stop)
        self._within = self._quiet = False
        self._parts.counts.sent_bytes += run.stop - run.start
        self._parts.counts.add("bytes")

    async def _say(self, answer: Other) -> None:
        self._within = True
        await self._stream.send(frames.put_other(answer))
        self._within = self._quiet = False
        self._parts.counts.add(_KINDS[type(answer)])

    @contextmanager
    def _attention(self) -> Iterator[None]:
        """Meanwhile the caller is told that we are at it, and that it left ends the work."""
        task = asyncio.current_task()
        assert task
        self._stream.watch(task)
        self._quiet = False
        self._tick()
        try:
            yield
        finally:
            self._timer.cancel()
            self._stream.unwatch()

    def _tick(self) -> None:
        if self._quiet and not self._within:
            self._stream.send_now(frames.WAIT)
        self._quiet = True
        self._timer = asyncio.get_running_loop().call_later(self._parts.limits.wait_s, self._tick)


def _peer(sock: socket.socket) -> str:
    try:
        return str(sock.getpeername()[0])
    except OSError:
        return "an address that is gone"
