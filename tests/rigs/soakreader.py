"""One reader of a soak, a process: reads random files and ranges of a Dataset, over S3 or below a mount, and holds every byte
that comes against the generator. One JSON line a batch on standard output; it ends with its standard input."""

import collections
import contextlib
import errno
import json
import os
import random
import socket
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

from tests.rigs.house import content

BATCH = 50
FINE = frozenset({410, 502, 503})
"""What a member may say while its origin lies, errs or is slow. A 404 would be a lie, a 500 a fault of its own."""
PAUSE_S = 0.02
"""After anything but bytes, so that a member which is down is not asked ten thousand times."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a reader is told: where the S3 face is, or below which folder to read. `late_s`: no read may take longer."""

    port: int
    bucket: str
    folder: str
    files: dict[str, int]
    seed: str
    late_s: float


class Reader:
    def __init__(self, task: Task) -> None:
        self._task, self._rng = task, random.Random(task.seed)
        self._content = {name: content(name, size) for name, size in task.files.items()}
        self._names = sorted(task.files)
        self._line: Any = None
        self.counts: collections.Counter[str] = collections.Counter()
        self.wrong: list[str] = []
        self.longest_s = 0.0

    def step(self) -> None:
        name = self._rng.choice(self._names)
        start, stop = self._range(self._task.files[name])
        began = time.monotonic()
        read = self._read_file if self._task.folder else self._read
        try:
            outcome = read(name, start, stop)
        except TimeoutError:
            outcome = "late"
        except (OSError, ValueError) as exc:
            self._hang_up()
            outcome = f"no answer: {type(exc).__name__}"
        took = time.monotonic() - began
        self.longest_s = max(self.longest_s, took)
        self.counts[outcome] += 1
        if outcome.startswith(("wrong", "late")) or took > self._task.late_s:
            self.wrong.append(f"{name} [{start}, {stop}): {outcome} after {took:.1f} s")
        if outcome != "right":
            time.sleep(PAUSE_S)

    def _range(self, size: int) -> tuple[int, int]:
        if size < 1 << 20 and self._rng.random() < 0.7:
            return 0, size
        start = self._rng.randrange(size)
        return start, min(size, start + self._rng.randrange(1, 1 << 20))

    def _read(self, name: str, start: int, stop: int) -> str:
        stream = self._stream()
        asked = f"GET /{self._task.bucket}/{name} HTTP/1.1\r\nHost: soak\r\nRange: bytes={start}-{stop - 1}\r\n\r\n"
        self._socket.sendall(asked.encode())
        status, headers = _head(stream)
        length = int(headers["content-length"])
        body = stream.read(length)
        if len(body) < length or headers.get("connection") == "close":
            self._hang_up()
        if status not in (200, 206):
            return f"refused: {status}" if status in FINE else f"wrong: {status} {body[:200]!r}"
        if length != stop - start:
            return f"wrong: {length} bytes promised, {stop - start} asked for"
        if body != (meant := self._content[name][start : start + len(body)]):
            return f"wrong: {differing(body, meant, start)}"
        return "right" if len(body) == length else "cut"

    def _read_file(self, name: str, start: int, stop: int) -> str:
        """EIO is the mount's refusal. What the page cache holds is dropped, so that there is something to ask for."""
        try:
            fd = os.open(os.path.join(self._task.folder, name), os.O_RDONLY)
            try:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                return self._pread(fd, name, start, stop)
            finally:
                os.close(fd)
        except OSError as exc:
            return "refused: EIO" if exc.errno == errno.EIO else f"wrong: {exc}"

    def _pread(self, fd: int, name: str, start: int, stop: int) -> str:
        """A read may end where the bytes do that could be had; the next one says why."""
        while start < stop:
            body = os.pread(fd, stop - start, start)
            if not body:
                return f"wrong: the file ends at {start}"
            if body != (meant := self._content[name][start : start + len(body)]):
                return f"wrong: {differing(body, meant, start)}"
            start += len(body)
        return "right"

    def _stream(self) -> Any:
        if self._line is None:
            self._socket = socket.create_connection(("127.0.0.1", self._task.port), timeout=self._task.late_s)
            self._line = self._socket.makefile("rb")
        return self._line

    def _hang_up(self) -> None:
        if self._line is not None:
            with contextlib.suppress(OSError):
                self._line.close()
                self._socket.close()
            self._line = None

    def told(self) -> str:
        told = {"counts": dict(self.counts), "wrong": self.wrong[:5], "longest_s": self.longest_s}
        return json.dumps(told)


def differing(body: bytes, meant: bytes, start: int) -> str:
    """Where bytes differ, and whether what came is zeros: a hole shows so."""
    places = [at for at in range(min(len(body), len(meant))) if body[at] != meant[at]]
    zeros = sum(body[at] == 0 for at in places)
    if not places:
        return f"{len(body) - len(meant)} bytes too many"
    return f"{len(places)} bytes of [{start + places[0]}, {start + places[-1] + 1}) differ, {zeros} of them are zeros"


def _head(stream: Any) -> tuple[int, dict[str, str]]:
    line = stream.readline()
    if not line.startswith(b"HTTP/1.1 "):
        raise ConnectionError("no answer")
    headers: dict[str, str] = {}
    while field := stream.readline().rstrip(b"\r\n"):
        name, _, value = field.decode("latin-1").partition(": ")
        headers[name.lower()] = value
    return int(line.split()[1]), headers


def main() -> None:
    reader = Reader(Task(**json.loads(sys.stdin.readline())))
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    while not ended.is_set():
        for _ in range(BATCH):
            reader.step()
        print(reader.told(), flush=True)
    print(reader.told(), flush=True)


if __name__ == "__main__":
    main()
