"""A remote region in front of a store on this machine: each request waits a round trip, bytes come at a bounded rate.

    with region("http://127.0.0.1:8000", Distance(round_trip_s=0.04)) as remote:
        ...                      # use remote.endpoint in place of the store's
        remote.counters()        # {"connections": 16, "requests": 2000, "bytes": 204800000, "methods": {"GET": 2000}}

One process, no parsing: a request begins where a client sends after the store did, or first. Bytes are moved by splice, so
the proxy costs little CPU beside what is measured. Nothing is rewritten, so the Host header and SigV4 stay valid; the store
must listen on the same machine. Control port: GET / gives the counters as JSON, POST / sets them back to 0.
"""

import argparse
import asyncio
import contextlib
import fcntl
import http.client
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

import uvloop

from bench.rig.pace import Pace

ROOT = pathlib.Path(__file__).parents[2]
DEADLINE_S = 10
REQUEST_BUFFER = 256 << 10
PIPE = 1 << 20
SLICE = 128 << 10
"""Bytes that are released together: 2.6 ms at 50 MB/s, above the 1 ms of timers."""
_METHOD = re.compile(rb"[A-Z]{3,7}(?= /)")


@dataclass(frozen=True, slots=True)
class Distance:
    """`round_trip_s`: from a request to its first byte, and once more to set up a connection. Rates are bytes a second from
    the store; the defaults are 2 Gbit/s together and 50 MB/s a connection, as S3 is known to give."""

    round_trip_s: float = 0.04
    total_rate: float = 250e6
    connection_rate: float = 50e6


@dataclass(frozen=True, slots=True)
class Region:
    """A running proxy."""

    endpoint: str
    control: int
    pid: int

    def counters(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._ask("GET"))
        return found

    def reset(self) -> None:
        self._ask("POST")

    def _ask(self, method: str) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.control, timeout=DEADLINE_S)
        with contextlib.closing(connection):
            connection.request(method, "/")
            return connection.getresponse().read()


@contextlib.contextmanager
def region(store: str, distance: Distance = Distance(), *, port: int = 0) -> Iterator[Region]:
    """Runs the proxy as a process that dies with this thread; `port` 0: any free one. Raises OSError where it is taken."""
    options = [f"--{name.replace('_', '-')}={value}" for name, value in asdict(distance).items()]
    command = [
        "setpriv",
        "--pdeathsig",
        "KILL",
        sys.executable,
        "-m",
        "bench.rig.region",
        store,
        f"--port={port}",
        *options,
    ]
    # a session of its own: a Ctrl-C is for who started it, who ends it
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, start_new_session=True
    )
    assert process.stdout
    with process, process.stdout:
        try:
            said = process.stdout.readline()
            if not said:
                raise OSError(f"the proxy did not start: is port {port} of 127.0.0.1 taken?")
            ports = json.loads(said)
            yield Region(f"http://127.0.0.1:{ports['data']}", ports["control"], process.pid)
        finally:
            process.kill()
            process.wait()


class Proxy:
    """The proxy's own side."""

    def __init__(self, store: tuple[str, int], distance: Distance) -> None:
        self._store = store
        self._distance = distance
        self._total = Pace(distance.total_rate)
        self.requests: Counter[str] = Counter()
        self.connections = 0
        self.bytes = 0

    def counters(self) -> dict[str, Any]:
        requests = {"requests": self.requests.total(), "methods": dict(self.requests)}
        return {"connections": self.connections, "bytes": self.bytes, **requests}

    def reset(self) -> None:
        self.requests.clear()
        self.connections = self.bytes = 0

    async def serve(self, listener: socket.socket) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            while True:
                client, _ = await loop.sock_accept(listener)
                self.connections += 1
                tasks.create_task(self._connection(client))

    async def _connection(self, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError), client, _socket() as store:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.setblocking(False)
            await loop.sock_connect(store, self._store)
            await Connection(self, client, store, self._distance, self._total).run()


class Connection:
    """One client's. Either side's end ends both."""

    def __init__(
        self, proxy: Proxy, client: socket.socket, store: socket.socket, distance: Distance, total: Pace
    ) -> None:
        self._proxy = proxy
        self._client = client
        self._store = store
        self._round_trip_s = distance.round_trip_s
        self._pace = Pace(distance.connection_rate)
        self._total = total
        self._answering = True

    async def run(self) -> None:
        directions = [asyncio.ensure_future(self._requests()), asyncio.ensure_future(self._answers())]
        try:
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for direction in directions:
                direction.cancel()
            await asyncio.gather(*directions, return_exceptions=True)

    async def _requests(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._round_trip_s)
        while data := await loop.sock_recv(self._client, REQUEST_BUFFER):
            method = _METHOD.match(data)
            if self._answering and method:
                self._answering = False
                self._proxy.requests[method[0].decode()] += 1
                await asyncio.sleep(self._round_trip_s)
            await loop.sock_sendall(self._store, data)

    async def _answers(self) -> None:
        """Through a pipe, so that the bytes stay in the kernel."""
        loop = asyncio.get_running_loop()
        taken, given = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.fcntl(given, fcntl.F_SETPIPE_SZ, PIPE)
        try:
            while length := await _splice(self._store.fileno(), given, SLICE, self._store.fileno()):
                self._answering = True
                now = loop.time()
                ready = max(self._pace.arrival(length, now), self._total.arrival(length, now))
                await asyncio.sleep(max(0.0, ready - now))
                self._proxy.bytes += length
                while length:
                    length -= await _splice(taken, self._client.fileno(), length, self._client.fileno(), write=True)
        finally:
            os.close(taken)
            os.close(given)


async def _splice(source: int, target: int, length: int, waits: int, *, write: bool = False) -> int:
    """Bytes moved, 0 at the end; waits for the descriptor `waits` where nothing can be moved at once."""
    while True:
        try:
            return os.splice(source, target, length, flags=os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK)
        except BlockingIOError:
            await _ready(waits, write=write)


async def _ready(fd: int, *, write: bool) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    add, remove = (loop.add_writer, loop.remove_writer) if write else (loop.add_reader, loop.remove_reader)
    add(fd, _wake, ready)
    try:
        await ready
    finally:
        remove(fd)


def _wake(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)


def _socket() -> socket.socket:
    made = socket.socket()
    made.setblocking(False)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


async def _control(proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.closing(writer):
        async with asyncio.timeout(DEADLINE_S):
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"POST"):
                proxy.reset()
            body = json.dumps(proxy.counters()).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            await writer.drain()


async def _main(store: str, port: int, distance: Distance) -> None:
    url = urlsplit(store)
    proxy = Proxy((url.hostname or "127.0.0.1", url.port or 80), distance)
    control = await asyncio.start_server(lambda reader, writer: _control(proxy, reader, writer), "127.0.0.1", 0)
    with _socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen(1024)
        ports = {"data": listener.getsockname()[1], "control": control.sockets[0].getsockname()[1]}
        print(json.dumps(ports), flush=True)
        await proxy.serve(listener)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.rig.region", description=__doc__.partition("\n")[0])
    parser.add_argument("store", help="URL of the store")
    parser.add_argument("--port", type=int, default=0, help="port of the store's stand-in (default: any free one)")
    for name, value in asdict(Distance()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=value)
    return parser.parse_args()


if __name__ == "__main__":
    given = vars(_arguments())
    uvloop.run(_main(given.pop("store"), given.pop("port"), Distance(**given)))
