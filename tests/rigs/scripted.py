"""An HTTP server that answers each request as a test says: what no healthy store does."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

DATA = bytes(range(256)) * 4000


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    target: str
    headers: dict[str, str]

    def span(self, size: int) -> tuple[int, int]:
        """[start, stop) of its Range header."""
        first, _, last = self.headers.get("range", f"bytes=0-{size - 1}").removeprefix("bytes=").partition("-")
        return int(first), min(int(last) + 1, size)


@dataclass(frozen=True, slots=True)
class Reply:
    """`sent`: bytes of the body that really go out before the connection is cut; None: all. `stall`: it hangs instead.
    `silent`: nothing at all is answered. `drip_s`: the body goes out in eight pieces, so many seconds apart."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    sent: int | None = None
    stall: bool = False
    silent: bool = False
    drip_s: float = 0.0


Script = Callable[[Request], Reply]


def part(request: Request, etag: str = "e1", sent: int | None = None, *, stall: bool = False) -> Reply:
    """What a right store would answer for DATA; `sent` and `stall` break it off."""
    start, stop = request.span(len(DATA))
    headers = {
        "ETag": f'"{etag}"',
        "Last-Modified": "Tue, 01 Sep 2026 10:00:00 GMT",
        "Content-Range": f"bytes {start}-{stop - 1}/{len(DATA)}",
    }
    return Reply(206, DATA[start:stop], headers, sent, stall)


def refusal(status: int, code: str = "") -> Reply:
    return Reply(status, f"<Error><Code>{code}</Code></Error>".encode() if code else b"")


class Server:
    """`script` may be replaced at any time."""

    def __init__(self) -> None:
        self.script: Script = part
        self.requests: list[Request] = []
        self.connections = 0
        self.endpoint = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while await self._answer(_parsed(await reader.readuntil(b"\r\n\r\n")), writer):
                pass
        writer.close()

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        self.requests.append(request)
        reply = self.script(request)
        if reply.silent:
            await asyncio.Event().wait()
        headers = {"Content-Length": str(len(reply.body)), **reply.headers}
        lines = [f"HTTP/1.1 {reply.status} Scripted", *(f"{name}: {value}" for name, value in headers.items())]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n")
        body = reply.body[: reply.sent] if request.method == "GET" else b""
        step = -(-len(body) // 8) if reply.drip_s and body else max(1, len(body))
        for at in range(0, len(body), step):
            await asyncio.sleep(reply.drip_s)
            writer.write(body[at : at + step])
        await writer.drain()
        if reply.stall:
            await asyncio.Event().wait()
        return reply.sent is None


@contextlib.asynccontextmanager
async def scripted() -> AsyncIterator[Server]:
    server = Server()
    handlers: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(server.serve(reader, writer))
        handlers.add(task)
        await task

    listener = await asyncio.start_server(handle, "127.0.0.1", 0)
    server.endpoint = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listener.close()
        for task in handlers:
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)


def _parsed(head: bytes) -> Request:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    pairs = (line.partition(":") for line in lines if line)
    return Request(method, target, {name.lower(): value.strip() for name, _, value in pairs})
