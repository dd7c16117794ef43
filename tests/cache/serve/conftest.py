"""A member in miniature for the S3 face: objects as chunk files on disk, a commit over a dictionary, a server on real TCP."""

import asyncio
import bisect
import contextlib
import hashlib
import io
import logging
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest
import uvloop

from forebay_cache.catalog.base import Commit, Entry, Page
from forebay_cache.contract.config import AccessKey, DatasetState, DirectorySource, Source
from forebay_cache.model.errors import ForebayError, NotFound
from forebay_cache.model.ids import CHUNK_SIZE, ChunkId, CommitId, Extent, SegmentId
from forebay_cache.model.ranges import Span, spans
from forebay_cache.read.base import Piece
from forebay_cache.serve.base import Limits
from forebay_cache.serve.face import Site
from forebay_cache.serve.server import S3Server, start_s3
from forebay_cache.telemetry import Telemetry

KEY, SECRET = "AKIAREADER", "a-secret/of+the=reader"
MTIME_MS = 1_700_000_000_123


class DictCommit:
    """A Commit over a dictionary of entries."""

    def __init__(self, number: int, entries: Mapping[bytes, Entry]) -> None:
        self.id = CommitId(f"{number:064x}")
        self._entries = dict(entries)
        self._keys = sorted(entries)
        self.file_count = len(entries)
        self.total_bytes = sum(entry.size for entry in entries.values())

    def find(self, key: bytes) -> Entry | None:
        return self._entries.get(key)

    def page(self, prefix: bytes, delimiter: bytes, start_after: bytes, limit: int) -> Page:
        entries: list[Entry] = []
        prefixes: list[bytes] = []
        last = start_after
        for key in self._keys[bisect.bisect_right(self._keys, start_after) :]:
            if not key.startswith(prefix) or (prefixes and key.startswith(prefixes[-1])):
                continue
            head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (b"", b"", b"")
            group = prefix + head + found
            if found and start_after.startswith(group):
                continue
            if len(entries) + len(prefixes) == limit:
                return Page(entries, prefixes, last)
            if found:
                prefixes.append(group)
                last = group + b"\xff" * 4
            else:
                entries.append(self._entries[key])
                last = key
        return Page(entries, prefixes, None)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def segments(self) -> list[SegmentId]:
        return sorted({entry.extent.segment for entry in self})


class FileLease:
    def __init__(self, path: Path, open_leases: set["FileLease"]) -> None:
        self.fd = os.open(path, os.O_RDONLY)
        self.whole = True
        self._open = open_leases
        open_leases.add(self)

    def close(self) -> None:
        if self in self._open:
            self._open.remove(self)
            os.close(self.fd)


@dataclass
class FileReader:
    """A Reader over chunk files. What is in `missing` is no hit: it comes in pieces of `step` bytes, and after `fails_after`
    bytes of it, if an error is set for the segment, that error."""

    root: Path
    missing: set[SegmentId] = field(default_factory=set)
    failures: dict[SegmentId, tuple[int, ForebayError]] = field(default_factory=dict)
    given: dict[SegmentId, dict[str, str]] = field(default_factory=dict)
    leases: set[FileLease] = field(default_factory=set)
    step: int = 300_000
    lease_calls: int = 0
    open_pieces: int = 0
    gate: threading.Event | None = None
    """Pieces after the first wait for it."""

    def path(self, chunk: ChunkId) -> Path:
        return self.root / str(chunk)

    def lease(self, span: Span) -> FileLease | None:
        self.lease_calls += 1
        path = self.path(span.chunk)
        return FileLease(path, self.leases) if span.chunk.segment not in self.missing and path.exists() else None

    async def pieces(self, extent: Extent) -> AsyncIterator[Piece]:
        self.open_pieces += 1
        try:
            limit, error = self.failures.get(extent.segment, (1 << 62, None))
            sent = 0
            for span in spans(extent):
                lease = FileLease(self.path(span.chunk), self.leases)
                with contextlib.closing(lease):
                    for at in range(span.start, span.stop, self.step):
                        if error is not None and sent >= limit:
                            raise error
                        await self._pass(sent)
                        length = min(self.step, span.stop - at)
                        yield Piece(lease.fd, at, length)
                        sent += length
        finally:
            self.open_pieces -= 1

    async def _pass(self, sent: int) -> None:
        while sent and self.gate is not None and not self.gate.is_set():
            await asyncio.sleep(0.001)

    async def headers(self, entry: Entry) -> Mapping[str, str]:
        return self.given.get(entry.extent.segment, {"content-type": "image/jpeg"})


@dataclass(frozen=True)
class Served:
    state: DatasetState
    head: Commit | None


@dataclass(frozen=True)
class Snapshot:
    by_bucket: Mapping[str, Served]


class Member:
    """Buckets to be served, and the objects in them."""

    def __init__(self, root: Path) -> None:
        self.reader = FileReader(root)
        self.snapshot = Snapshot({})
        self.commits: dict[str, DictCommit] = {}
        self.accesses: list[tuple[ChunkId, int, int]] = []

    async def commit(self, commit: CommitId) -> Commit:
        if commit not in self.commits:
            raise NotFound(f"no commit {commit}")
        return self.commits[commit]

    def entry(self, key: bytes, data: bytes, *, etag: str = "") -> Entry:
        """Writes the object's chunks. Its segment is its own, at offset 0."""
        segment = SegmentId(hashlib.sha256(key + data).digest())
        for number in range(-(-len(data) // CHUNK_SIZE)):
            self.reader.path(ChunkId(segment, number)).write_bytes(
                data[number * CHUNK_SIZE : (number + 1) * CHUNK_SIZE]
            )
        return Entry(key, len(data), MTIME_MS, etag or hashlib.md5(data).hexdigest(), Extent(segment, 0, len(data)))

    def serve(
        self, bucket: str, objects: Mapping[bytes, bytes] | None, *, anonymous: bool = True, number: int = 1
    ) -> DictCommit:
        """Makes these objects the bucket's head; older commits stay retained. None: no commit yet."""
        commit = DictCommit(
            len(self.commits) + 1, {key: self.entry(key, data) for key, data in (objects or {}).items()}
        )
        self.commits[commit.id] = commit
        state = DatasetState(
            uid=f"uid-{bucket}",
            namespace="default",
            name=bucket,
            bucket=bucket,
            anonymous=anonymous,
            access_keys=(AccessKey(access_key_id=KEY, secret_access_key=SECRET),),
            sources=(Source(name="all", directory=DirectorySource(path="/nowhere")),),
            head=commit.id if objects is not None else None,
            retained=tuple(self.commits),
        )
        served = Served(state, commit if objects is not None else None)
        self.snapshot = Snapshot({**self.snapshot.by_bucket, bucket: served})
        return commit


class Wire:
    """A connection of a client that does as it likes."""

    def __init__(self, port: int) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = self._sock.makefile("rb")
        self.sendall = self._sock.sendall
        self.recv = self._sock.recv
        self.shutdown = self._sock.shutdown
        self.setsockopt = self._sock.setsockopt

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.stream.close()
        self._sock.close()


class Running:
    """A server on a loop in a thread, as the member runs it, so that any client can be pointed at it."""

    def __init__(self, member: Member, limits: Limits, now_offset: float = 0.0) -> None:
        self.member = member
        self.telemetry = Telemetry()
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.server: S3Server = self.call(self._start(limits, now_offset))
        self.port = self.server.port
        self.url = f"http://127.0.0.1:{self.port}"

    async def _start(self, limits: Limits, now_offset: float) -> S3Server:
        site = Site(
            self.member.reader,
            self.member,
            self.telemetry,
            lambda chunk, requests, size: self.member.accesses.append((chunk, requests, size)),
            now=lambda: time.time() + now_offset,
        )
        return await start_s3(site, "127.0.0.1", 0, limits)

    def call(self, work):  # type: ignore[no-untyped-def]
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def stop(self) -> None:
        self.call(self.server.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def connect(self) -> Wire:
        return Wire(self.port)

    def ask(self, raw: bytes) -> "Response":
        """One request on a connection of its own."""
        with self.connect() as sock:
            sock.sendall(raw)
            return read_response(sock.stream, head_only=raw.startswith(b"HEAD"))

    def read(self, stream: io.BufferedReader, *, head_only: bool = False) -> "Response":
        return read_response(stream, head_only=head_only)

    def get(self, path: str, *headers: str, method: str = "GET") -> "Response":
        lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", "Connection: close", *headers, "", ""]
        return self.ask("\r\n".join(lines).encode())


@dataclass(frozen=True)
class Response:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """Of an S3 error document."""
        return self.body.partition(b"<Code>")[2].partition(b"</Code>")[0].decode()


def read_response(stream: io.BufferedReader, *, head_only: bool = False) -> Response:
    status = int(stream.readline().split()[1])
    headers: dict[str, str] = {}
    while (line := stream.readline().rstrip(b"\r\n")) != b"":
        name, _, value = line.decode("latin-1").partition(": ")
        headers[name.lower()] = value
    length = 0 if head_only or status == 304 else int(headers["content-length"])
    return Response(status, headers, stream.read(length))


@pytest.fixture
def member(tmp_path: Path) -> Member:
    root = tmp_path / "chunks"
    root.mkdir()
    return Member(root)


@pytest.fixture
def limits() -> Limits:
    return Limits(threads=4)


@pytest.fixture
def running(member: Member, limits: Limits) -> Iterator[Running]:
    """Stopped at the end, when neither a lease nor a fill may be left."""
    server = Running(member, limits)
    try:
        yield server
    finally:
        server.stop()
    assert not member.reader.leases
    assert not member.reader.open_pieces


@pytest.fixture
def make_running(member: Member) -> Iterator[object]:
    """Servers with a clock or limits of their own."""
    made: list[Running] = []

    def make(*, limits: Limits = Limits(threads=2), now_offset: float = 0.0) -> Running:
        made.append(Running(member, limits, now_offset))
        return made[-1]

    try:
        yield make
    finally:
        for server in made:
            server.stop()
    assert not member.reader.leases


@pytest.fixture
def objects() -> dict[bytes, bytes]:
    """Some odd keys, an empty object, and one of several chunks."""
    block = bytes(range(256)) * 4096
    return {
        b"a.txt": b"hello",
        b"empty": b"",
        b"dir/one.bin": block,
        b"dir/two.bin": block[::-1],
        b"dir/../up": b"dots stay",
        b"a//b": b"two slashes",
        "sp ace+pl%us/ü.bin".encode(): b"odd",
        b"big.bin": block * 8 + b"tail of a second chunk" * 50,
    }


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "forebay.s3")
    return caplog
