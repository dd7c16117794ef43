"""An S3 bucket on 127.0.0.1 that can be broken: a small store of few objects over the scripted server, on a loop of its own
thread, so that a member process and blocking tests both reach it."""

import asyncio
import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from tests.rigs.scripted import Reply, Request, Server

MODIFIED = ("2026-09-01T10:00:00.000Z", "Tue, 01 Sep 2026 10:00:00 GMT")
Break = Callable[[Request, Reply], Reply]
"""What becomes of a right answer."""


class Bucket:
    """`objects` is what it holds. `breaks` changes answers about one key, `breaks_all` every answer."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.objects: dict[str, bytes] = {}
        self.breaks: dict[str, Break] = {}
        self.breaks_all: Break | None = None
        self.requests: list[Request] = []
        self.port = 0
        self._loop = loop
        self._listener: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def open(self) -> None:
        """Listens, again on the port it had."""
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(30)

    def close(self) -> None:
        """Nobody listens; who is connected is cut off."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(30)

    def gets(self, key: str) -> int:
        """GETs of a key so far."""
        return sum(one.method == "GET" and _key(one) == key for one in self.requests)

    async def _open(self) -> None:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._listener:
            self._listener.close()
        await asyncio.sleep(0)  # who has just come begins to be served
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        server = Server()
        server.script = self._answer
        try:
            await server.serve(reader, writer)
        finally:
            writer.transport.abort()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            self._tasks.discard(task)

    def _answer(self, request: Request) -> Reply:
        self.requests.append(request)
        key = _key(request)
        reply = self._object(request, key) if key else self._listing(request)
        if self.breaks_all:
            return self.breaks_all(request, reply)
        return self.breaks[key](request, reply) if key in self.breaks else reply

    def _object(self, request: Request, key: str) -> Reply:
        data = self.objects.get(key)
        if data is None:
            return error(404, "NoSuchKey")
        etag = f'"{hashlib.md5(data).hexdigest()}"'
        if request.headers.get("if-match", etag) != etag:
            return error(412, "PreconditionFailed")
        headers = {"ETag": etag, "Last-Modified": MODIFIED[1], "Content-Type": "text/plain"}
        if "range" not in request.headers:
            return Reply(200, data, headers)
        start, stop = request.span(len(data))
        return Reply(206, data[start:stop], {**headers, "Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"})

    def _listing(self, request: Request) -> Reply:
        query = parse_qs(urlsplit(request.target).query)
        prefix, delimiter = query.get("prefix", [""])[0], query.get("delimiter", [""])[0]
        keys = [key for key in sorted(self.objects, key=str.encode) if key.startswith(prefix)]
        rolled = {prefix + key[len(prefix) :].partition(delimiter)[0] + delimiter for key in keys if delimiter}
        rows = "".join(f"<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>" for one in sorted(rolled))
        rows += "".join(self._row(key) for key in keys if not delimiter)
        head = f"<Name>b</Name><Prefix>{escape(prefix)}</Prefix><IsTruncated>false</IsTruncated>"
        return Reply(
            200, f"<ListBucketResult>{head}{rows}</ListBucketResult>".encode(), {"Content-Type": "application/xml"}
        )

    def _row(self, key: str) -> str:
        data = self.objects[key]
        return (
            f"<Contents><Key>{escape(key)}</Key><LastModified>{MODIFIED[0]}</LastModified>"
            f"<ETag>&quot;{hashlib.md5(data).hexdigest()}&quot;</ETag><Size>{len(data)}</Size></Contents>"
        )


@contextlib.contextmanager
def bucket() -> Iterator[Bucket]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    made = Bucket(loop)
    try:
        made.open()
        yield made
    finally:
        made.close()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def error(status: int, code: str) -> Reply:
    body = f"<Error><Code>{code}</Code><Message>the origin's own words</Message></Error>".encode()
    return Reply(status, body, {"Content-Type": "application/xml"})


def refused(status: int, code: str) -> Break:
    """Every request is answered so."""
    return lambda _request, _reply: error(status, code)


def truncated(sent: int) -> Break:
    """Each body ends after so many bytes, and so does its connection."""
    return lambda request, reply: Reply(
        reply.status, reply.body, reply.headers, sent if request.method == "GET" else None
    )


def _key(request: Request) -> str:
    return unquote(urlsplit(request.target).path).lstrip("/").partition("/")[2]
