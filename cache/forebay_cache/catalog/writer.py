"""Writes catalog files: aside first, then made durable, and only then given the name that tells their content.

So a file under its name is whole, whenever the writer dies. Each writer has a folder of its own below tmp/, locked while
it lives; the next writer removes what a dead one left. Writers share the catalog's lock, and cleaning takes it alone: it
must not delete a file that a commit under way counts on. Blocking; one thread at a time.
"""

import fcntl
import os
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from forebay_cache.catalog.edge import Hook, Point, disk
from forebay_cache.model.errors import SyncConflict
from forebay_cache.model.ids import SegmentId

STAGED_LIMIT = 4096
"""Finished files that wait for their names."""
SYNCERS = 16
"""fsyncs at once: the disk's journal merges them."""


class CatalogWriter:
    """Raises SyncConflict (retry) where the catalog is being cleaned, StoreFull, StoreFailed."""

    def __init__(self, root: str, at: Hook) -> None:
        self._root = root
        self._at = at
        self._staged: dict[str, str] = {}
        self._folders: set[str] = set()
        self._lock = lock_catalog(root, fcntl.LOCK_SH)
        if self._lock < 0:
            raise SyncConflict("the catalog is being cleaned; try again in a moment")
        try:
            with disk("beginning to write"):
                sweep(root)
                self._tmp, self._tmp_lock = _own_folder(os.path.join(root, "tmp"))
        except BaseException:
            os.close(self._lock)
            raise

    @property
    def full(self) -> bool:
        """Whether it is time to `settle`."""
        return len(self._staged) >= STAGED_LIMIT

    def put(self, data: bytes, *names: str) -> None:
        """Stages one file under a name that tells its content: one that is there already is left alone."""
        path = os.path.join(self._root, *names)
        if path not in self._staged and not self.keeps(*names):
            self.replace(data, *names)

    def keeps(self, *names: str) -> bool:
        """Whether a file has this name already; the next file that is settled makes it durable as well."""
        path = os.path.join(self._root, *names)
        found = os.path.exists(path)
        if found:
            self._folders.add(os.path.dirname(path))  # whoever gave it its name may have died before it was durable
        return found

    def replace(self, data: bytes, *names: str) -> None:
        """Stages one file, whatever is there."""
        with disk(f"writing {os.path.join(*names)}"), open(self.aside(), "xb") as file:
            file.write(data)
            self.stage(file.name, *names)

    def put_parts(self, segment: SegmentId, table: bytes) -> None:
        name = segment.hex()
        self.put(table, "parts", name[:2], name)

    def aside(self) -> str:
        """A new path for a file to be `stage`d when it is finished."""
        self._at(Point.BEGIN)
        return os.path.join(self._tmp, os.urandom(8).hex())

    def stage(self, aside: str, *names: str) -> None:
        self._staged[os.path.join(self._root, *names)] = aside

    def settle(self) -> None:
        """Gives every staged file its name: the bytes of all first, then the names, then the folders that hold them."""
        if not self._staged:
            return
        with disk("making catalog files durable"):
            self._at(Point.SYNC)
            _fsync_all(self._staged.values())
            for path, aside in self._staged.items():
                self._name(aside, path)
            self._staged.clear()
            self._at(Point.SYNC_FOLDERS)
            _fsync_all(self._folders)
            self._folders.clear()

    def close(self) -> None:
        """Drops what was not settled."""
        shutil.rmtree(self._tmp, ignore_errors=True)
        os.close(self._tmp_lock)
        os.close(self._lock)

    def _name(self, aside: str, path: str) -> None:
        folder = os.path.dirname(path)
        if folder not in self._folders:
            if not os.path.isdir(folder):
                os.makedirs(folder, mode=0o700, exist_ok=True)
                self._folders.add(os.path.dirname(folder))
            self._folders.add(folder)
        self._at(Point.NAME)
        os.replace(aside, path)


def lock_catalog(root: str, kind: int) -> int:
    """A descriptor that holds the catalog's lock until it is closed; -1 where another holds it."""
    fd = os.open(os.path.join(root, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if try_lock(fd, kind):
        return fd
    os.close(fd)
    return -1


def try_lock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def sweep(root: str) -> None:
    """Removes what dead writers left aside."""
    tmp = os.path.join(root, "tmp")
    for name in os.listdir(tmp):
        path = os.path.join(tmp, name)
        with suppress(FileNotFoundError):
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if try_lock(fd, fcntl.LOCK_EX):
                shutil.rmtree(path, ignore_errors=True)
            os.close(fd)


def _own_folder(tmp: str) -> tuple[str, int]:
    """A new folder and a descriptor that locks it."""
    while True:
        path = os.path.join(tmp, os.urandom(8).hex())
        os.mkdir(path, mode=0o700)
        with suppress(FileNotFoundError):  # a sweep found it before it was locked: another, then
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if try_lock(fd, fcntl.LOCK_EX) and os.path.isdir(path):
                return path, fd
            os.close(fd)


def _fsync_all(paths: Iterable[str]) -> None:
    with ThreadPoolExecutor(SYNCERS, "fsync") as pool:
        for _ in pool.map(fsync, paths):
            pass


def fsync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
