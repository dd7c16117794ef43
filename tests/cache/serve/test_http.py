"""The S3 face by raw sockets: what well-behaved clients never send, and how answers are framed."""

import contextlib
import logging
import os
import random
import socket
import threading
import time
from collections.abc import Callable
from urllib.parse import quote

import pytest

from forebay_cache.model.errors import ChunkCorrupt, OriginDenied, OriginThrottled, OriginUnavailable, PartGone
from forebay_cache.model.ids import ChunkId
from forebay_cache.serve.base import Limits


def head(path: str, *headers: str, method: str = "GET", version: str = "1.1") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/{version}", "Host: h", *headers, "", ""]).encode()


@pytest.fixture
def served(member, objects):
    member.serve("b", objects)
    return member


def test_every_object_comes_whole_cold_and_hot(served, running, objects) -> None:
    for _ in range(3):
        for key, data in objects.items():
            found = running.get("/b/" + quote(key, safe="/"))
            assert (found.status, found.body) == (200, data), key
            assert found.headers["content-type"] == "image/jpeg"


def test_pipelined_requests_are_answered_in_order(served, running, objects) -> None:
    paths = ["a.txt", "big.bin", "missing", "dir/one.bin", "empty", "a.txt", "dir/two.bin"] * 20
    with running.connect() as sock:
        sender = threading.Thread(target=sock.sendall, args=(b"".join(head(f"/b/{path}") for path in paths),))
        sender.start()
        stream = sock.stream
        for path in paths:
            found = running.read(stream)
            if path == "missing":
                assert (found.status, found.code) == (404, "NoSuchKey")
            else:
                assert found.body == objects[path.encode()]
        sender.join()


def test_a_flood_of_pipelined_hits_does_not_recurse(served, running) -> None:
    running.get("/b/a.txt")
    count = 20_000
    with running.connect() as sock:
        sender = threading.Thread(target=sock.sendall, args=(head("/b/a.txt") * count,))
        sender.start()
        stream = sock.stream
        assert all(running.read(stream).body == b"hello" for _ in range(count))
        sender.join()


def test_a_request_split_at_every_byte_is_one_request(served, running) -> None:
    raw = head("/b/a.txt", "Range: bytes=1-3")
    for at in range(1, len(raw)):
        with running.connect() as sock:
            sock.sendall(raw[:at])
            sock.sendall(raw[at:])
            found = running.read(sock.stream)
        assert (found.status, found.body) == (206, b"ell")


def test_bytes_one_by_one(served, running) -> None:
    with running.connect() as sock:
        for byte in head("/b/a.txt"):
            sock.sendall(bytes([byte]))
        assert running.read(sock.stream).body == b"hello"


def test_a_client_that_reads_slowly_gets_every_byte(served, running, objects) -> None:
    rng = random.Random(7)
    with running.connect() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 << 10)
        sock.sendall(head("/b/big.bin") * 2)
        stream = sock.stream
        for _ in range(2):
            found = running.read(Dribble(stream, rng))
            assert found.body == objects[b"big.bin"]


class Dribble:
    """Reads a stream in odd amounts."""

    def __init__(self, stream, rng: random.Random) -> None:
        self._stream = stream
        self._rng = rng

    def readline(self) -> bytes:
        return self._stream.readline()

    def read(self, length: int) -> bytes:
        data = bytearray()
        while len(data) < length:
            got = self._stream.read(min(self._rng.randrange(1, 300_000), length - len(data)))
            if not got:
                break
            data += got
        return bytes(data)


@pytest.mark.parametrize("hot", [False, True])
def test_head_has_the_headers_of_get_and_no_body(served, running, objects, hot: bool) -> None:
    if hot:
        running.get("/b/big.bin")
    with running.connect() as sock:
        sock.sendall(head("/b/big.bin", method="HEAD") + head("/b/a.txt", "Connection: close"))
        stream = sock.stream
        found = running.read(stream, head_only=True)
        assert found.headers["content-length"] == str(len(objects[b"big.bin"]))
        assert running.read(stream).body == b"hello"
        assert stream.read() == b""


def test_http_1_0_closes_and_may_ask_to_stay(served, running) -> None:
    with running.connect() as sock:
        sock.sendall(head("/b/a.txt", version="1.0"))
        stream = sock.stream
        assert running.read(stream).headers["connection"] == "close"
        assert stream.read() == b""
    with running.connect() as sock:
        stream = sock.stream
        for _ in range(2):
            sock.sendall(head("/b/a.txt", "Connection: keep-alive", version="1.0"))
            assert running.read(stream).headers["connection"] == "keep-alive"


def test_connection_close_is_kept(served, running) -> None:
    for path in ("/b/a.txt", "/b/a.txt", "/b?list-type=2", "/b/none"):
        with running.connect() as sock:
            sock.sendall(head(path, "Connection: close"))
            stream = sock.stream
            assert running.read(stream).headers["connection"] == "close"
            assert stream.read() == b""


def test_a_connection_is_hot_again_after_a_slow_request(served, running) -> None:
    with running.connect() as sock:
        stream = sock.stream
        for path in ("/b/a.txt", "/b?list-type=2", "/b/a.txt", "/b/nope", "/b/a.txt"):
            sock.sendall(head(path))
            running.read(stream)
        before = served.reader.lease_calls
        sock.sendall(head("/b/a.txt"))
        assert running.read(stream).body == b"hello"
        assert served.reader.lease_calls == before


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"nonsense\r\n\r\n",
        b"GET /b/a.txt\r\n\r\n",
        b"GET /b/a.txt HTTP/1.1\r\nbad header\r\n\r\n",
        b"GET /b/a.txt HTTP/1.1\r\nX : y\r\n\r\n",
        b"GET /b/a.txt HTTP/1.1\nHost: h\n\n",
        b"GET /b/\xc3\xbc HTTP/1.1\r\nHost: h\r\n\r\n",
        b"PUT /b/k HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
        b"PUT /b/k HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /b/%zz HTTP/1.1\r\nHost: h\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused_and_ends_the_connection(served, running, raw: bytes) -> None:
    with running.connect() as sock:
        sock.sendall(raw)
        sock.shutdown(socket.SHUT_WR)
        assert running.read(sock.stream).status == 400
    assert running.get("/b/a.txt").body == b"hello"


@pytest.mark.parametrize("size", [33 << 10, 100 << 10, 5 << 20])
def test_a_head_beyond_the_limit_is_refused(served, running, size: int) -> None:
    with running.connect() as sock:
        pushed = threading.Thread(target=push, args=(sock, b"GET /b/a.txt HTTP/1.1\r\nX: " + b"y" * size))
        pushed.start()
        found = running.read(sock.stream)
        assert (found.status, found.code) == (400, "RequestHeaderSectionTooLarge")
        pushed.join()


def push(sock: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):  # the server had heard enough
        sock.sendall(data)


def test_an_offer_to_upgrade_is_declined(served, running) -> None:
    found = running.ask(
        head("/b/a.txt", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQ")
    )
    assert (found.status, found.body) == (200, b"hello")


@pytest.mark.parametrize(
    "framing",
    ["Content-Length: 3000000", "Transfer-Encoding: chunked", "Content-Length: 3000000\r\nExpect: 100-continue"],
)
def test_a_write_is_refused_before_its_body_is_read(served, running, framing: str) -> None:
    with running.connect() as sock:
        sock.sendall(head("/b/new", framing, method="PUT"))
        pushed = threading.Thread(target=push, args=(sock, b"x" * 3_000_000))
        pushed.start()
        stream = sock.stream
        found = running.read(stream)
        assert (found.status, found.code) == (405, "MethodNotAllowed")
        assert b"read-only" in found.body
        assert found.headers["allow"] == "GET, HEAD"
        assert stream.read() == b""
        pushed.join()


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", ["/", "/b", "/b/a.txt", "/b?delete", "/b/a.txt?uploads"])
def test_no_write_is_possible(served, running, method: str, path: str) -> None:
    assert running.get(path, method=method).status == 405


def test_a_miss_streams_and_its_first_bytes_do_not_wait_for_its_last(served, running, objects) -> None:
    commit = served.serve("b", objects)
    entry = commit.find(b"dir/one.bin")
    served.reader.missing.add(entry.extent.segment)
    served.reader.gate = threading.Event()
    with running.connect() as sock:
        sock.sendall(head("/b/dir/one.bin"))
        stream = sock.stream
        while stream.readline() != b"\r\n":
            pass
        first = stream.read(served.reader.step)
        served.reader.gate.set()
        assert first + stream.read(len(objects[b"dir/one.bin"]) - len(first)) == objects[b"dir/one.bin"]


def test_a_range_over_chunks(served, running, objects) -> None:
    data, edge = objects[b"big.bin"], 8 << 20
    for start, stop in (
        (edge - 5, edge + 5),
        (0, len(data)),
        (edge, edge + 1),
        (edge - 1, edge),
        (edge + 3, len(data)),
    ):
        for _ in range(2):
            found = running.get("/b/big.bin", f"Range: bytes={start}-{stop - 1}")
            assert found.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(data)}"
            assert (found.status, found.body) == (206, data[start:stop])


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (PartGone("gone since the commit"), 410, "ObjectGone"),
        (OriginUnavailable("refused"), 503, "OriginUnavailable"),
        (OriginThrottled("slow"), 503, "SlowDown"),
        (OriginDenied("403"), 424, "OriginAccessDenied"),
        (ChunkCorrupt("block 3"), 503, "ServiceUnavailable"),
        (ValueError("a bug"), 500, "InternalError"),
    ],
)
def test_a_failure_before_the_first_byte_has_its_status(served, running, logged, error, status: int, code: str) -> None:
    segment = served.snapshot.by_bucket["b"].head.find(b"dir/one.bin").extent.segment
    served.reader.missing.add(segment)
    served.reader.failures[segment] = (0, error)
    found = running.get("/b/dir/one.bin")
    assert (found.status, found.code) == (status, code)
    assert ("retry-after" in found.headers) == (status == 503)
    assert [record.levelname for record in logged.records] == ["ERROR" if status == 500 else "WARNING"]
    assert running.get("/b/a.txt").body == b"hello"


def test_a_failure_after_the_first_byte_cuts_the_answer_short_and_is_logged_once(
    served, running, logged, objects
) -> None:
    segment = served.snapshot.by_bucket["b"].head.find(b"dir/one.bin").extent.segment
    served.reader.missing.add(segment)
    served.reader.failures[segment] = (600_000, PartGone("overwritten"))
    found = running.get("/b/dir/one.bin")
    assert found.status == 200
    assert found.body == objects[b"dir/one.bin"][: len(found.body)]
    assert len(found.body) < len(objects[b"dir/one.bin"])
    warnings = [record for record in logged.records if record.levelno >= logging.WARNING]
    assert [record.getMessage() for record in warnings] == ["answer cut short"]
    assert b'forebay_s3_cut_short_total{reason="ObjectGone"} 1.0' in running.telemetry.exposition()


def test_a_chunk_file_that_ends_early_is_never_padded(served, running, objects, logged) -> None:
    running.get("/b/dir/one.bin")
    entry = served.snapshot.by_bucket["b"].head.find(b"dir/one.bin")
    with open(served.reader.path(ChunkId(entry.extent.segment, 0)), "r+b") as file:
        file.truncate(1000)
    found = running.get("/b/dir/one.bin")
    assert found.body == objects[b"dir/one.bin"][:1000]


def test_clients_that_leave_take_nothing_with_them(served, running, objects) -> None:
    served.reader.gate = threading.Event()
    for key in (b"dir/one.bin", b"big.bin"):
        served.reader.missing.add(served.snapshot.by_bucket["b"].head.find(key).extent.segment)
    for _ in range(20):
        with running.connect() as sock:
            sock.sendall(head("/b/dir/one.bin") + head("/b/big.bin"))
            sock.recv(10)
    wait_for(lambda: not served.reader.open_pieces and not served.reader.leases)
    served.reader.gate.set()
    assert running.get("/b/dir/one.bin").body == objects[b"dir/one.bin"]


def wait_for(true: Callable[[], bool]) -> None:
    for _ in range(2000):
        if true():
            return
        time.sleep(0.005)
    raise AssertionError("it never came true")


def test_connections_beyond_the_limit_are_told(served, make_running) -> None:
    running = make_running(limits=Limits(connections=3, threads=2))
    kept = [running.connect() for _ in range(3)]
    for sock in kept:
        sock.sendall(head("/b/a.txt"))
        assert running.read(sock.stream).status == 200
    with running.connect() as sock:
        found = running.read(sock.stream)
        assert (found.status, found.code) == (503, "SlowDown")
    for sock in kept:
        sock.close()
    wait_for(lambda: running.get("/b/a.txt").status == 200)


def test_a_client_that_says_nothing_is_ended(served, make_running) -> None:
    running = make_running(limits=Limits(idle_s=0.2, header_s=0.1, threads=2))
    with running.connect() as idle, running.connect() as half:
        half.sendall(b"GET /b/a.txt HTT")
        assert idle.recv(10) == b""
        assert half.recv(1000).startswith(b"HTTP/1.1 400") or half.recv(10) == b""


def test_a_client_that_takes_nothing_is_ended(served, make_running, logged) -> None:
    running = make_running(limits=Limits(slow_s=0.5, slowest_bytes_s=1 << 20, threads=2))
    with running.connect() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 << 10)
        sock.sendall(head("/b/big.bin"))
        wait_for(lambda: b'forebay_s3_cut_short_total{reason="SlowClient"} 1.0' in running.telemetry.exposition())
    wait_for(lambda: not served.reader.leases)


@pytest.mark.parametrize("path", ["dir/one.bin", "big.bin"], ids=["one chunk", "two chunks"])
def test_a_client_that_closes_its_side_gets_its_answers(served, running, objects, path: str) -> None:
    """The first is a fill, the others are hits."""
    for _ in range(3):
        with running.connect() as sock:
            sock.sendall(head(f"/b/{path}") * 2)
            sock.shutdown(socket.SHUT_WR)
            for _ in range(2):
                found = running.read(sock.stream)
                assert (found.status, len(found.body)) == (200, len(objects[path.encode()]))
            assert sock.stream.read() == b""


def test_stopping_finishes_what_is_under_way(served, make_running, objects) -> None:
    running = make_running()
    with running.connect() as sock, running.connect() as idle:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 << 10)
        sock.sendall(head("/b/big.bin"))
        stream = sock.stream
        assert stream.readline() == b"HTTP/1.1 200 OK\r\n"
        stopping = threading.Thread(target=running.call, args=(running.server.aclose(),))
        stopping.start()
        while stream.readline() != b"\r\n":
            pass
        assert stream.read() == objects[b"big.bin"]
        assert idle.recv(1) == b""
        stopping.join()


def test_metrics_count_requests(served, running) -> None:
    running.get("/b/a.txt")
    running.get("/b/a.txt")
    running.get("/b/none")
    refused = b'forebay_s3_requests_total{operation="Refused",status="404"} 1.0'
    wait_for(lambda: refused in running.telemetry.exposition())  # counted once the client has it
    shown = running.telemetry.exposition().decode()
    assert 'forebay_s3_requests_total{operation="GetObject",status="200"} 2.0' in shown
    assert 'forebay_s3_request_seconds_count{operation="GetObject"} 2.0' in shown


def test_hits_the_reader_did_not_see_are_reported(served, running) -> None:
    for _ in range(5):
        running.get("/b/a.txt")
    wait_for(lambda: sum(requests for _, requests, _ in served.accesses) == 4)
    assert sum(size for *_, size in served.accesses) == 20


def test_an_evicted_chunk_is_given_up_soon(served, running) -> None:
    for _ in range(3):
        running.get("/b/a.txt")
    assert served.reader.leases
    entry = served.snapshot.by_bucket["b"].head.find(b"a.txt")
    os.unlink(served.reader.path(ChunkId(entry.extent.segment, 0)))
    wait_for(lambda: not served.reader.leases)
