"""An answer before it is sent: prebuilt bytes, and where a file's bytes are. Pure."""

from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus

from forebay_cache.model.ids import Extent
from forebay_cache.read.base import Piece

Headers = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Stream:
    """A body that is still being filled. `first` is its first piece, already here; whoever gets this closes `rest`."""

    first: Piece
    rest: AsyncGenerator[Piece, None]


@dataclass(frozen=True, slots=True)
class Answer:
    """`head` ends before Date, request id, Connection and the blank line, which differ each time. The body is `body`, or
    the bytes of `extent` (sent from the store, or by `stream`). `operation` labels metrics."""

    operation: str
    status: int
    head: bytes
    body: bytes = b""
    extent: Extent | None = None
    stream: Stream | None = None


def head_bytes(status: int, headers: Headers) -> bytes:
    """Status line and headers. A header that HTTP cannot carry is left out: it came from an origin, and could split the
    answer."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()]
    for name, value in headers:
        line = f"{name}: {value}".encode("utf-8", "replace")
        if b"\r" not in line and b"\n" not in line and b"\0" not in line:
            lines.append(line + b"\r\n")
    return b"".join(lines)


def xml_answer(operation: str, body: bytes, status: int = 200, headers: Headers = ()) -> Answer:
    head = head_bytes(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body))), *headers])
    return Answer(operation, status, head, body)


def http_date(moment_ms: int) -> str:
    return formatdate(moment_ms // 1000, usegmt=True)
