"""HTTP/1.1 for the S3 face: parse, decide, sendfile.

Hot file. Budget: 10 us of Python for a hit of the hot table beside the kernel's work; `bench/serve.py` holds it against
nginx. A hit is answered inside `data_received`, without a task; everything else runs in one task a connection, and the
connection is hot again with its next request. No web framework is on this port: aiohttp would either keep a connection for
good once it had one slow request, or need its private state to tell when it is done.
"""

import asyncio
import logging
from collections import deque
from dataclasses import replace
from typing import cast

import httptools

from forebay_cache.model.errors import BadInput, ForebayError
from forebay_cache.model.ids import CHUNK_SIZE, ChunkId, Extent
from forebay_cache.model.ranges import Span
from forebay_cache.read.base import Piece
from forebay_cache.serve.answer import Answer, Stream
from forebay_cache.serve.face import Face
from forebay_cache.serve.leases import Pin
from forebay_cache.serve.objects import HotObject, decide
from forebay_cache.serve.pace import Pace
from forebay_cache.serve.request import Request
from forebay_cache.serve.s3 import close, refusal
from forebay_cache.serve.s3errors import S3Refusal, s3_error
from forebay_cache.serve.sender import CLIENT_GONE, Sender

log = logging.getLogger("forebay.s3")
READS = frozenset((b"GET", b"HEAD"))
VERSIONS = frozenset(("1.0", "1.1"))
PIPELINED = 16
"""Requests waiting behind the one being answered before reading pauses."""


class Connection(asyncio.Protocol):
    """One client: idle, in a head, busy (an answer is under way), or last (no request follows, what comes is dropped)."""

    def __init__(self, face: Face) -> None:
        self._face = face
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._fed = 0  # bytes read since the last whole request
        self._queue: deque[Request] = deque()
        self._request: Request | None = None
        self._answer: Answer | None = None
        self._pin: Pin | None = None
        self._task: asyncio.Task[None] | None = None
        self._sent: asyncio.Future[None] | None = None
        self._moved_before = 0
        self._dropped = 0  # bytes read and thrown away after the last request
        self._pace = Pace(face.limits, face.monotonic())
        self._busy = self._last = self._linger = self._paused = self._serving_queue = self._closed = False

    # what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one without saying so
        fd = transport.get_extra_info("socket").fileno()
        self._sender = Sender(self._face.loop, fd, self._face.page_cache, self._all_sent, self._cut)
        if not self._face.admit(self):
            most = (
                f"{self._face.limits.connections} connections are open, and no more are served: try again, or use fewer"
            )
            self._refuse(S3Refusal(503, "SlowDown", most, (("Retry-After", "1"),)))

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        self._sender.close()
        self._release()
        if self._task is not None:
            self._task.cancel()
        self._face.leave(self)

    def eof_received(self) -> bool:
        """A client that closes its side still gets what it asked for: that it is gone altogether shows when bytes are sent to
        it, and until then a fill for it is bounded, and what a retry will want."""
        self._last = True
        self._linger = False  # of a body, nothing more can come
        return self._busy

    def data_received(self, data: bytes) -> None:
        limit = self._face.limits.header_bytes
        if len(data) > limit:
            for at in range(0, len(data), limit):
                self._feed(data[at : at + limit], limit)
        else:
            self._feed(data, limit)

    def _feed(self, data: bytes, limit: int) -> None:
        if self._last:
            self._dropped += len(data)
            if self._dropped > self._face.limits.drain_bytes:
                self.abort()
            return
        self._fed += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._last = True  # an offer like h2c is declined by answering in HTTP/1.1; what follows it is not read
        except httptools.HttpParserError as exc:
            self._refuse(_malformed(exc))
        if self._fed > limit:
            self._refuse(
                S3Refusal(400, "RequestHeaderSectionTooLarge", f"the request's head is longer than {limit} bytes")
            )

    # what the parser calls

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = {}

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in self._headers:
            self._headers[name] += b"," + value
        else:
            self._headers[name] = value

    def on_headers_complete(self) -> None:
        """A request with a body is answered at once (who expects a 100 sends none), and is the connection's last."""
        headers = self._headers
        if (b"content-length" in headers and headers[b"content-length"] != b"0") or b"transfer-encoding" in headers:
            self._linger = True
            self._arrived(keep_alive=False)

    def on_message_complete(self) -> None:
        self._fed = 0
        if not self._last:
            self._arrived(keep_alive=self._parser.should_keep_alive() and b"upgrade" not in self._headers)

    def _arrived(self, *, keep_alive: bool) -> None:
        if not keep_alive:
            if self._parser.get_http_version() not in VERSIONS:
                self._refuse(BadInput("only HTTP/1.1 and HTTP/1.0 are spoken here"))
                return
            self._last = True
        now = self._face.monotonic()
        request = Request(self._parser.get_method(), self._url, self._headers, keep_alive=keep_alive, started=now)
        if not self._busy:
            self._serve(request)
            return
        self._queue.append(request)
        if len(self._queue) > PIPELINED and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    # answering

    def _serve(self, request: Request) -> None:
        self._busy = True
        self._request = request
        self._moved_before = self._sender.moved
        try:
            decided = self._decide(request) if request.method in READS else None
        except ForebayError as exc:
            self._send(self._refused(request, exc))
            return
        if decided is None:
            self._start(request, None)
            return
        answer, hot, pin = decided
        if answer.extent is None:
            self._send(answer)
        elif pin is None:
            self._start(request, answer)
        else:
            self._send_pinned(request, answer, hot, answer.extent, pin)

    def _decide(self, request: Request) -> tuple[Answer, HotObject, Pin | None] | None:
        """What can be answered without waiting: from the hot table, or from the store. None: not here."""
        face = self._face
        hot = face.objects.find(request.path)
        if hot is not None:
            answer = face.objects.answer(request, hot)
            return answer, hot, self._pinned(answer, hot, answer.extent) if answer.extent is not None else None
        recalled = face.s3.recall(request)
        if recalled is None:
            return None
        hot, pin = recalled
        try:
            answer = decide(request, hot)
        except ForebayError:
            pin.release()
            raise
        if answer.extent is None:
            pin.release()
        return answer, hot, pin

    def _send(self, answer: Answer) -> None:
        self._answer = answer
        if self._sender.send(answer.head + self._face.stamp(self._request) + answer.body):
            self._finish()

    def _pinned(self, answer: Answer, hot: HotObject, extent: Extent) -> Pin | None:
        """The chunk that holds all of the answer, with one user more; None where it is not here, or in several."""
        pin = hot.pin
        if pin is not None and not pin.dropped:
            pin.use(extent.length)
            return pin
        number, start = divmod(extent.offset, CHUNK_SIZE)
        stop = start + extent.length
        if stop > CHUNK_SIZE:
            return None
        pin = self._face.pins.take(Span(ChunkId(extent.segment, number), start, stop))
        if answer is hot.whole:
            hot.pin = pin  # good for every range of the object: the reader vouched for all of it
        return pin

    def _send_pinned(self, request: Request, answer: Answer, hot: HotObject, extent: Extent, pin: Pin) -> None:
        face = self._face
        self._answer, self._pin = answer, pin
        start = extent.offset % CHUNK_SIZE
        stop = start + extent.length
        resident = hot.warm == face.tick
        if not resident and face.page_cache.resident(pin.fd, start, stop):
            resident = True
            if answer is hot.whole:
                hot.warm = face.tick
        if self._sender.send(answer.head + face.stamp(request), pin.fd, start, stop, resident=resident):
            self._finish()

    def _start(self, request: Request, answer: Answer | None) -> None:
        self._task = self._face.spawn(self._answer_slowly(request, answer))

    async def _answer_slowly(self, request: Request, answer: Answer | None) -> None:
        face = self._face
        try:
            async with asyncio.timeout(face.limits.answer_s):
                if answer is None:
                    answer = await face.s3.answer(request)
                elif answer.extent is not None:
                    answer = replace(answer, stream=await face.s3.open(answer.extent))
        except (ForebayError, TimeoutError) as exc:
            answer = self._refused(request, exc)
        except Exception as exc:  # the member goes on serving, whatever one request met
            log.exception("answer failed", extra={"path": _shown(request), "request": face.request_id})
            answer = refusal(request, exc, face.request_id)
        try:
            whole = await self._deliver(request, answer)
        finally:
            await close(answer)
        self._task = None
        if whole:
            self._finish()

    async def _deliver(self, request: Request, answer: Answer) -> bool:
        """False: it had to be cut short."""
        self._answer = answer
        head = answer.head + self._face.stamp(request)
        stream = answer.stream
        if stream is None:
            await self._until_sent(now=self._sender.send(head + answer.body))
            return True
        piece: Piece | None = stream.first
        await self._until_sent(now=self._sender.send(head, stream.first.fd, *_bounds(stream.first)))
        try:
            while (piece := await self._next(stream)) is not None:
                await self._until_sent(now=self._sender.send_file(piece.fd, *_bounds(piece)))
        except (ForebayError, TimeoutError) as exc:
            self._cut(f"{type(exc).__name__}: {exc}", s3_error(exc).code)
            return False
        return True

    async def _next(self, stream: Stream) -> Piece | None:
        async with asyncio.timeout(self._face.limits.answer_s):
            return await anext(stream.rest, None)

    async def _until_sent(self, *, now: bool) -> None:
        """The deadline is the client's slowest rate: `check` cuts it, and losing the connection cancels this."""
        if now:
            return
        self._sent = self._face.loop.create_future()
        try:
            await self._sent
        finally:
            self._sent = None

    def _all_sent(self) -> None:
        if self._sent is None:
            self._finish()
        elif not self._sent.done():
            self._sent.set_result(None)

    def _finish(self) -> None:
        request, answer = self._request, self._answer
        assert request is not None
        assert answer is not None
        face = self._face
        face.tally.answered(
            answer.operation, answer.status, self._sender.moved - self._moved_before, face.monotonic() - request.started
        )
        self._release()
        self._busy = False
        if self._queue:
            self._serve_queue()
        elif self._last:
            self._end()

    def _serve_queue(self) -> None:
        """A loop, because pipelined hits would recurse into each other."""
        if self._serving_queue:
            return
        self._serving_queue = True
        while self._queue and not self._busy and not self._closed:
            self._serve(self._queue.popleft())
        self._serving_queue = False
        if self._paused and not self._queue and not self._closed:
            self._paused = False
            self._transport.resume_reading()
        if self._last and not self._busy and not self._queue:
            self._end()

    def _end(self) -> None:
        """Closes; but while the client may still be sending a body, closing would reset the answer away."""
        if self._closed:
            return
        if self._linger:
            self._sender.end_output()
        else:
            self._transport.close()

    def _release(self) -> None:
        pin, self._pin = self._pin, None
        if pin is not None:
            pin.release()

    # what goes wrong

    def _refused(self, request: Request | None, error: Exception) -> Answer:
        face, peer = self._face, self._transport.get_extra_info("peername")
        face.refusals.record(error, _shown(request), str(peer[0]) if peer else "", face.request_id)
        return refusal(request, error, face.request_id)

    def _refuse(self, error: ForebayError) -> None:
        """The client broke the protocol or a limit: the connection ends with the answer under way, or with this one."""
        if self._last:
            return
        self._last = self._linger = True
        if not self._busy:
            self._busy = True
            self._request = Request(b"", b"", {}, keep_alive=False, started=self._face.monotonic())
            self._moved_before = self._sender.moved
            self._send(self._refused(None, error))

    def _cut(self, reason: str, kind: str = "") -> None:
        """The answer ends early; the missing bytes tell the client."""
        gone = reason == CLIENT_GONE
        self._face.tally.cut_short.add(1, kind or ("ClientGone" if gone else "ReadFailed"))
        extra = {"path": _shown(self._request), "sent": self._sender.moved - self._moved_before, "reason": reason}
        log.log(logging.DEBUG if gone else logging.WARNING, "answer cut short", extra=extra)
        self.abort()

    def abort(self) -> None:
        self._last = True
        self._queue.clear()
        self._transport.abort()

    def close_idle(self) -> None:
        """No further request is read; the answer under way is finished."""
        self._last = True
        if not self._busy:
            self._transport.close()

    def check(self, now: float) -> None:
        """Called once a second: ends a client that is idle, or too slow in sending or taking."""
        verdict = self._pace.check(
            now, busy=self._busy, in_head=bool(self._fed), waiting=self._sender.waiting, moved=self._sender.moved
        )
        if verdict == "slow":
            self._cut("the client takes its bytes too slowly", "SlowClient")
        elif verdict == "head":
            late = f"the request's head did not arrive within {self._face.limits.header_s:g} s of its first byte"
            self._refuse(S3Refusal(400, "RequestTimeout", late))
        elif verdict == "idle":
            self.abort()


def _bounds(piece: Piece) -> tuple[int, int]:
    return piece.offset, piece.offset + piece.length


def _malformed(error: httptools.HttpParserError) -> ForebayError:
    if isinstance(error, httptools.HttpParserInvalidURLError):
        return S3Refusal(400, "InvalidURI", "the request's target is not valid: bytes outside of ASCII must be escaped")
    return BadInput("the request is not valid HTTP/1.1, which is all this port speaks: no TLS, no HTTP/2")


def _shown(request: Request | None) -> str:
    return request.path.decode("latin-1") if request else ""
