"""The dictionary's objects on a disk: what was accepted survives a kill and a power loss. `forebay up --state DIR`.

One file of JSON lines, each a write: version, key, and the object or null. A line counts once it ends in a newline and
was synced; a torn last line was never accepted. The file is written anew when it is mostly history. Secrets are in it,
so only its owner may read it.
"""

import fcntl
import json
import os
from pathlib import Path
from typing import Any

from forebay_operator.model import Key, KubeError, KubeUnavailable, Object

FILE, NEW, LOCK = "objects.jsonl", "objects.jsonl.new", "lock"
HISTORY = 1000
"""Lines of history beside those that still hold before the file is written anew."""


class Journal:
    """Owns `folder` until `close`. Made by `open_journal`."""

    def __init__(self, folder: Path, lock: int) -> None:
        self._folder, self._lock = folder, lock
        self._version, self._live = read_lines(folder / FILE)
        self._file = self._rewritten()
        self._lines = len(self._live)

    def load(self) -> tuple[int, list[dict[str, Any]]]:
        return self._version, [json.loads(line)["object"] for line in self._live.values()]

    def record(self, version: int, key: Key, obj: Object | None) -> None:
        """Returns when the write is safe. Raises KubeUnavailable where the disk refuses it: it is then not accepted."""
        name = f"{key.kind.api_version}/{key.kind.kind}/{key.namespace}/{key.name}"
        line = json.dumps({"version": version, "key": name, "object": obj}).encode() + b"\n"
        end = os.fstat(self._file).st_size
        try:
            write_all(self._file, line)
            os.fdatasync(self._file)
        except OSError as exc:
            os.ftruncate(self._file, end)
            raise KubeUnavailable(f"{self._folder / FILE}: {exc.strerror}: nothing was changed") from exc
        self._version = version
        self._live.pop(name, None)
        if obj is not None:
            self._live[name] = line
        self._lines += 1
        if self._lines > 2 * len(self._live) + HISTORY:
            self._compact()

    def close(self) -> None:
        os.close(self._file)
        os.close(self._lock)

    def _compact(self) -> None:
        try:
            new = self._rewritten()
        except OSError:
            return  # it is only shorter: the old one holds everything, and the next write tries again
        os.close(self._file)
        self._file, self._lines = new, len(self._live)

    def _rewritten(self) -> int:
        """The file with only what still holds, open for appending; the old one stands until this one is safe."""
        new = os.open(self._folder / NEW, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        try:
            write_all(new, json.dumps({"version": self._version}).encode() + b"\n" + b"".join(self._live.values()))
            os.fsync(new)
            os.rename(self._folder / NEW, self._folder / FILE)
            sync_folder(self._folder)
        except BaseException:
            os.close(new)
            raise
        return new


def open_journal(folder: Path) -> Journal:
    """The journal in `folder`, made where there is none. Raises KubeError where it is damaged or another process has it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return Journal(folder, lock)
    except BlockingIOError as exc:
        os.close(lock)
        raise KubeError(f"{folder} is in use by another process: stop it, or choose another folder") from exc
    except BaseException:
        os.close(lock)
        raise


def read_lines(path: Path) -> tuple[int, dict[str, bytes]]:
    """The newest version, and key -> line of what still holds. Raises KubeError for a damaged line."""
    version, live = 0, dict[str, bytes]()
    if not path.exists():
        return version, live
    *lines, _torn = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
            version = int(entry["version"])
        except (ValueError, KeyError, TypeError) as exc:
            raise KubeError(f"{path}:{number} is damaged: restore the file, or move it away to start empty") from exc
        name = entry.get("key")
        live.pop(name, None)
        if entry.get("object") is not None:
            live[name] = line + b"\n"
    return version, live


def write_all(file: int, data: bytes | memoryview) -> None:
    data = memoryview(data)
    while data:
        data = data[os.write(file, data) :]


def sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
