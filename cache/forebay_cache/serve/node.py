"""The node socket of a member: chunks and catalog files for the agent on the same node (contract/wire.py).

A complete chunk goes as its descriptor, at once; everything else as bytes, by a task that fills and copies. So hits never
wait behind misses. Raw non-blocking sockets on the loop's readiness callbacks: asyncio's streams and uvloop's transports
carry no descriptors.
"""

import asyncio
import errno
import logging
import os
import socket
import struct
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextlib import closing, suppress
from dataclasses import dataclass, field

from forebay_cache.catalog.base import Catalog
from forebay_cache.catalog.garbage import give
from forebay_cache.contract import wire
from forebay_cache.contract.agent import ResolvedCommit
from forebay_cache.model import errors
from forebay_cache.model.ids import CHUNK_SIZE, ChunkId, CommitId, SegmentId
from forebay_cache.model.ranges import Span
from forebay_cache.read.base import Reader
from forebay_cache.serve.base import Accesses
from forebay_cache.serve.misses import Misses
from forebay_cache.serve.outbox import Outbox
from forebay_cache.store.base import Lease

log = logging.getLogger("forebay.node")


@dataclass(frozen=True, slots=True)
class NodeLimits:
    """Bounds of the node socket."""

    connections: int = 256
    misses: int = 64
    """Requests that fill and copy at once, all connections together; each has a buffer of up to 1 MiB."""
    waiting: int = 4096
    """Misses of one connection, under way or waiting; more are refused."""
    deadline_s: float = 8.0
    """A miss gets its answer within this time: less than the agent's own deadline, so that the agent learns the reason."""


@dataclass(slots=True)
class NodeCounts:
    """By result: descriptor, bytes, file, commit, error, expired, refused."""

    requests: dict[tuple[str, ...], float] = field(default_factory=dict)
    sent_bytes: int = 0

    def add(self, result: str) -> None:
        self.requests[result,] = self.requests.get((result,), 0) + 1


Resolve = Callable[[str, str], ResolvedCommit]
"""(UID of a Dataset, commit id or "") -> the commit its readers see. Blocking. Raises NotFound."""


def _knows_none(dataset_uid: str, commit: str) -> ResolvedCommit:
    raise errors.NotFound(f"no Dataset {dataset_uid} is served here")


def _unreported(chunk: ChunkId, requests: int, size: int) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Behind:
    """What the node socket speaks for. `pool` runs what would block; `accesses` is told of READs that agents answered from
    descriptors; `resolve` says which commit a Dataset has."""

    reader: Reader
    catalog: Catalog
    pool: Executor
    accesses: Accesses = _unreported
    resolve: Resolve = _knows_none


async def start_node_socket(path: str, behind: Behind, limits: NodeLimits = NodeLimits()) -> "NodeSocket":
    """Listens at `path` until `aclose`. Raises ConfigError (the socket cannot be made)."""
    loop = asyncio.get_running_loop()
    misses = Misses(behind.reader, behind.catalog, behind.pool, limits.misses, limits.deadline_s)
    parts = Parts(behind, misses, limits, NodeCounts())
    server = NodeSocket(path, _bind(path), parts)
    loop.add_reader(server.listener.fileno(), server.on_connection)
    return server


@dataclass(frozen=True, slots=True)
class Parts:
    """What all connections share."""

    behind: Behind
    misses: Misses
    limits: NodeLimits
    counts: NodeCounts


class NodeSocket:
    """Made by `start_node_socket`."""

    def __init__(self, path: str, listener: socket.socket, parts: Parts) -> None:
        self.path = path
        self.listener = listener
        self._parts = parts
        self._connections: set[Connection] = set()

    @property
    def counts(self) -> NodeCounts:
        return self._parts.counts

    def on_connection(self) -> None:
        try:
            sock, _ = self.listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError:
            log.exception("accepting on the node socket failed")
            return
        sock.setblocking(False)  # noqa: FBT003  the socket module's own signature
        if not _may_connect(sock) or len(self._connections) >= self._parts.limits.connections:
            log.warning("connection to the node socket refused", extra={"open": len(self._connections)})
            sock.close()
            return
        connection = Connection(sock, self._parts, self._connections.discard)
        self._connections.add(connection)

    async def aclose(self) -> None:
        """Stops listening and ends every connection; agents ask again elsewhere, or later."""
        if self.listener.fileno() < 0:
            return
        asyncio.get_running_loop().remove_reader(self.listener.fileno())
        self.listener.close()
        with suppress(FileNotFoundError):
            os.unlink(self.path)
        for connection in list(self._connections):
            await connection.aclose()


class Connection:
    """One agent's worker. Answers leave in the order they are ready."""

    def __init__(self, sock: socket.socket, parts: Parts, closed: Callable[["Connection"], None]) -> None:
        self._socket = sock
        self._parts = parts
        self._closed = closed
        self._loop = asyncio.get_running_loop()
        self._in = bytearray()
        self._outbox = Outbox(sock, self._end)
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop.add_reader(sock.fileno(), self._on_readable)

    async def aclose(self) -> None:
        self._end()
        if self._tasks:
            await asyncio.wait(self._tasks)

    # in

    def _on_readable(self) -> None:
        try:
            data = self._socket.recv(wire.REQUEST_LIMIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end()
            return
        self._in += data
        try:
            while self._take_request():
                pass
        except (struct.error, ValueError) as exc:
            log.warning("a message on the node socket broke the protocol", extra={"detail": str(exc)})
            self._end()

    def _take_request(self) -> bool:
        """Handles one whole message; False when none is there."""
        head = wire.HEADER.size
        if len(self._in) < head:
            return False
        operation, version, length, number = wire.HEADER.unpack_from(self._in)
        if version != wire.VERSION or length > wire.REQUEST_LIMIT or operation not in _OPERATIONS:
            raise ValueError(f"operation {operation}, version {version}, {length} bytes")
        if len(self._in) < head + length:
            return False
        body = bytes(self._in[head : head + length])
        del self._in[: head + length]
        _OPERATIONS[operation](self, number, body)
        return self._socket.fileno() >= 0

    def _on_chunk(self, number: int, body: bytes) -> None:
        segment, chunk, start, stop, flags = wire.CHUNK.unpack(body)
        if not 0 <= start < stop <= CHUNK_SIZE or stop - start > wire.READ_LIMIT:
            raise ValueError(f"bytes [{start}, {stop}) of a chunk")
        span = Span(ChunkId(SegmentId(segment), chunk), start, stop)
        try:
            lease = self._parts.behind.reader.lease(span)
        except (errors.ForebayError, ValueError) as exc:
            self._fail(number, exc)
            return
        if lease is not None and lease.whole and flags & wire.WANT_DESCRIPTOR:
            with closing(lease):
                self._give(number, lease.fd, "descriptor")
            return
        if len(self._tasks) >= self._parts.limits.waiting:
            if lease is not None:
                lease.close()
            self._fail(number, errors.DeadlineExceeded("too many reads wait for origins"), "refused")
            return
        self._spawn(self._answer_bytes(number, span, lease))

    def _on_file(self, number: int, body: bytes) -> None:
        (which,) = wire.FILE.unpack_from(body)
        commit = CommitId(body[wire.FILE.size :].decode("ascii"))
        paths = {
            wire.FILE_IMAGE: self._parts.behind.catalog.image_path,
            wire.FILE_DEVICES: self._parts.behind.catalog.devices_path,
        }
        if which not in paths or not commit.isalnum():
            raise ValueError(f"catalog file {which} of commit {commit!r}")
        self._spawn(self._answer_file(number, lambda: give(paths[which](commit))))

    def _on_commit(self, number: int, body: bytes) -> None:
        dataset, separator, commit = body.decode("ascii").partition("\0")
        if not dataset or not separator or (commit and not commit.isalnum()):
            raise ValueError(f"commit {commit!r} of Dataset {dataset!r}")
        self._spawn(self._answer_commit(number, dataset, commit))

    def _on_reads(self, number: int, body: bytes) -> None:
        for segment, chunk, requests, size in wire.READS.iter_unpack(body):
            self._parts.behind.accesses(ChunkId(SegmentId(segment), chunk), requests, size)

    def _spawn(self, answer: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(answer)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # out

    async def _answer_file(self, number: int, opened: Callable[[], int]) -> None:
        """`opened` blocks: it reads the file, the first time."""
        opening = self._loop.run_in_executor(self._parts.behind.pool, opened)
        try:
            fd = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_opened)
            raise
        except (errors.ForebayError, OSError) as exc:
            self._fail(number, exc)
            return
        try:
            self._give(number, fd, "file")
        finally:
            os.close(fd)

    async def _answer_commit(self, number: int, dataset: str, commit: str) -> None:
        try:
            found = await self._loop.run_in_executor(
                self._parts.behind.pool, self._parts.behind.resolve, dataset, commit
            )
        except (errors.ForebayError, OSError) as exc:
            self._fail(number, exc)
            return
        body = found.model_dump_json().encode()
        self._parts.counts.add("commit")
        self._outbox.send(wire.HEADER.pack(wire.ST_BYTES, wire.VERSION, len(body), number), body)

    async def _answer_bytes(self, number: int, span: Span, lease: Lease | None) -> None:
        """Bytes that are there already (`lease`), or that a fill brings."""
        misses = self._parts.misses
        try:
            async with misses.slot():
                data = await (misses.copy(span, lease) if lease is not None else misses.fill(span))
                header = wire.HEADER.pack(wire.ST_BYTES, wire.VERSION, len(data), number)
                async with asyncio.timeout(self._parts.limits.deadline_s):
                    await self._outbox.send_all(header, data)
        except TimeoutError:
            self._end()  # an agent that takes no answers
        except errors.DeadlineExceeded as exc:
            self._fail(number, exc, "expired")
        except (errors.ForebayError, OSError) as exc:
            self._fail(number, exc)
        except Exception as exc:
            log.exception("a request on the node socket failed")
            self._fail(number, exc)
        else:
            self._parts.counts.add("bytes")
            self._parts.counts.sent_bytes += len(data)
        finally:
            if lease is not None:
                lease.close()

    def _fail(self, number: int, exc: Exception, result: str = "error") -> None:
        self._parts.counts.add(result)
        body = wire.ERROR.pack(_number_of(exc)) + str(exc).encode(errors="replace")[:4000]
        self._outbox.send(wire.HEADER.pack(wire.ST_ERROR, wire.VERSION, len(body), number), body)

    def _give(self, number: int, fd: int, result: str) -> None:
        """Sends a descriptor, which stays the caller's to close."""
        try:
            self._outbox.send_descriptor(wire.HEADER.pack(wire.ST_DESCRIPTOR, wire.VERSION, 0, number), fd)
        except OSError as exc:
            self._fail(number, exc)
        else:
            self._parts.counts.add(result)

    def _end(self) -> None:
        if self._socket.fileno() < 0:
            return
        self._loop.remove_reader(self._socket.fileno())
        self._outbox.close()
        self._socket.close()
        for task in self._tasks:
            task.cancel()
        self._closed(self)


_OPERATIONS: dict[int, Callable[[Connection, int, bytes], None]] = {
    wire.OP_CHUNK: Connection._on_chunk,
    wire.OP_FILE: Connection._on_file,
    wire.OP_READS: Connection._on_reads,
    wire.OP_COMMIT: Connection._on_commit,
}


def _number_of(exc: Exception) -> int:
    """The errno an agent is told."""
    if isinstance(exc, errors.NotFound):
        return errno.ENOENT
    if isinstance(exc, errors.DeadlineExceeded):
        return errno.ETIMEDOUT
    return errno.EIO


def _close_opened(opening: asyncio.Future[int]) -> None:
    if not opening.cancelled() and not opening.exception():
        os.close(opening.result())


def _may_connect(sock: socket.socket) -> bool:
    """Root, or who we are: a chunk id is no capability."""
    _, uid, _ = struct.unpack("iii", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return uid in (0, os.geteuid())


def _bind(path: str) -> socket.socket:
    """Raises ConfigError."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        with suppress(FileNotFoundError):
            os.unlink(path)  # of a member that was killed
        os.fchmod(listener.fileno(), 0o600)  # before it has a name, so that nobody slips in
        listener.bind(path)
        listener.listen(64)
    except OSError as exc:
        listener.close()
        raise errors.ConfigError(f"node_socket: {path}: {exc.strerror or exc}") from exc
    return listener
