"""What a listing has found so far, so that a sync that was killed goes on where it was.

One folder for each list of sources, locked by the sync that uses it (another of the same sources goes without). In it, for
each source, the plan by which it is split, and a file of pages for each range: when it was begun (u64, ms), then frames of
length, CRC and content; an empty page is the end. Nothing is made durable: a torn frame ends what is believed. Pages older
than STALE_MS are not believed either. Only what the origin held meanwhile depends on whether a listing was resumed.
"""

import fcntl
import hashlib
import json
import marshal
import os
import shutil
import struct
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from forebay_cache.catalog.edge import disk
from forebay_cache.catalog.writer import try_lock
from forebay_cache.origin.base import OriginObject

STALE_MS = 6 * 3600_000
_BEGUN = struct.Struct("<Q")
_FRAME = struct.Struct("<II")
_FRAME_LIMIT = 64 << 20
Page = list[OriginObject]
_Rows = list[tuple[bytes, int, int, str, str | None]]


@dataclass(frozen=True, slots=True)
class Range:
    """Keys of one source with `after` < key <= `last` (b"": no bound)."""

    after: bytes = b""
    last: bytes = b""


class Spool(Protocol):
    """The pages of one range."""

    @property
    def complete(self) -> bool:
        """Whether `pages` was all there is. Known once `pages` has ended."""
        ...

    def pages(self) -> Iterator[Page]:
        """What an earlier sync found."""
        ...

    def add(self, page: Page) -> None: ...
    def end(self) -> None:
        """There is nothing more in this range."""
        ...

    def close(self) -> None: ...


class Checkpoint(Protocol):
    def plan(self, source: int) -> Sequence[Range] | None:
        """How an earlier sync split the source."""
        ...

    def keep_plan(self, source: int, ranges: Sequence[Range]) -> None: ...
    def spool(self, source: int, number: int) -> Spool: ...
    def discard(self) -> None:
        """The sync is done."""
        ...

    def close(self) -> None: ...


class NoCheckpoint:
    """Implements Checkpoint and Spool: keeps nothing."""

    complete = False

    def plan(self, _source: int) -> None:
        return None

    def keep_plan(self, source: int, ranges: Sequence[Range]) -> None: ...
    def spool(self, _source: int, _number: int) -> Spool:
        return self

    def pages(self) -> Iterator[Page]:
        return iter(())

    def add(self, page: Page) -> None: ...
    def end(self) -> None: ...
    def discard(self) -> None: ...
    def close(self) -> None: ...


def open_checkpoint(root: str, sources: Sequence[str], now_ms: int) -> Checkpoint:
    """The checkpoint of these sources (their names) in the catalog's folder for them. Raises StoreFull, StoreFailed."""
    version = f"{sys.version_info[:2]} {marshal.version}"  # content is marshalled
    name = hashlib.sha256(json.dumps([version, *sources]).encode()).hexdigest()
    with disk("opening the checkpoint"):
        _sweep(root, now_ms)
        path = os.path.join(root, name)
        os.makedirs(path, mode=0o700, exist_ok=True)
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    if try_lock(fd, fcntl.LOCK_EX) and os.path.isdir(path):
        return FileCheckpoint(path, fd, now_ms)
    os.close(fd)
    return NoCheckpoint()


class FileCheckpoint:
    """Implements Checkpoint. `fd` locks the folder until `close`."""

    def __init__(self, path: str, fd: int, now_ms: int) -> None:
        self._path = path
        self._fd = fd
        self._now_ms = now_ms

    def plan(self, source: int) -> Sequence[Range] | None:
        try:
            with open(os.path.join(self._path, f"{source}.plan"), "rb") as file:
                body, _, seal = file.read().partition(b"\n")
            if seal != _seal(body):
                return None  # a bound that is another would hide keys
            found = json.loads(body)
            ranges = [Range(bytes.fromhex(after), bytes.fromhex(last)) for after, last in found["ranges"]]
            return ranges if self._now_ms - found["made_ms"] <= STALE_MS else None
        except (OSError, ValueError, KeyError, TypeError):
            return None  # none, or torn: begin anew

    def keep_plan(self, source: int, ranges: Sequence[Range]) -> None:
        body = {"made_ms": self._now_ms, "ranges": [[one.after.hex(), one.last.hex()] for one in ranges]}
        with disk("keeping the checkpoint"), os.scandir(self._path) as found:
            for old in found:
                if old.name.startswith(f"{source}-"):
                    os.unlink(old.path)  # pages by another plan
        with disk("keeping the checkpoint"):
            aside = os.path.join(self._path, f"{source}.new")
            with open(aside, "wb") as file:
                data = json.dumps(body).encode()
                file.write(data + b"\n" + _seal(data))
            os.replace(aside, os.path.join(self._path, f"{source}.plan"))

    def spool(self, source: int, number: int) -> Spool:
        with disk("opening the checkpoint"):
            return FileSpool(os.path.join(self._path, f"{source}-{number}"), self._now_ms)

    def discard(self) -> None:
        shutil.rmtree(self._path, ignore_errors=True)

    def close(self) -> None:
        os.close(self._fd)


class FileSpool:
    """Implements Spool. Blocking, but only into the page cache."""

    def __init__(self, path: str, now_ms: int) -> None:
        self.complete = False
        self._now_ms = now_ms
        self._file = open(path, "a+b", buffering=0)  # noqa: SIM115  closed by `close`

    def pages(self) -> Iterator[Page]:
        self._file.seek(0)
        begun, good = self._file.read(_BEGUN.size), 0
        if len(begun) == _BEGUN.size and self._now_ms - _BEGUN.unpack(begun)[0] <= STALE_MS:
            good = _BEGUN.size
            while not self.complete and (rows := self._frame()) is not None:
                good = self._file.tell()
                self.complete = not rows
                if rows:
                    yield [OriginObject(*row) for row in rows]
        with disk("reading the checkpoint"):
            self._file.truncate(good)
            if not good:
                self._file.write(_BEGUN.pack(self._now_ms))

    def add(self, page: Page) -> None:
        self._write([(one.key, one.size, one.mtime_ms, one.etag, one.version) for one in page])

    def end(self) -> None:
        self._write([])

    def close(self) -> None:
        self._file.close()

    def _write(self, content: _Rows) -> None:
        data = marshal.dumps(content)
        with disk("keeping the checkpoint"):
            self._file.write(_FRAME.pack(len(data), zlib.crc32(data)) + data)

    def _frame(self) -> _Rows | None:
        """The next frame's content; None where none is whole."""
        try:
            head = self._file.read(_FRAME.size)
            length, crc = _FRAME.unpack(head) if len(head) == _FRAME.size else (0, 0)
            data = self._file.read(length) if length <= _FRAME_LIMIT else b""
        except OSError:
            return None  # a bad sector: the rest is listed again
        if len(data) < length or zlib.crc32(data) != crc or not data:
            return None
        content: _Rows = marshal.loads(data)  # noqa: S302  our own bytes
        return content


def _seal(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest().encode()


def _sweep(root: str, now_ms: int) -> None:
    """Removes checkpoints nobody can use any more."""
    for name in os.listdir(root):
        path = os.path.join(root, name)
        with suppress(FileNotFoundError):
            if now_ms - os.stat(path).st_mtime_ns // 1_000_000 <= STALE_MS:
                continue
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if try_lock(fd, fcntl.LOCK_EX):
                shutil.rmtree(path, ignore_errors=True)
            os.close(fd)
