"""Descriptors of complete chunks that a worker holds between READs. Each pins 8 MiB of the member's disk.

Bounded; the idlest goes first; `sweep` drops what was not read for a while and what the member evicted meanwhile.
"""

import errno
import os
from collections.abc import Callable

from forebay_cache.model.ids import BLOCK_SIZE, SegmentId

IDLE_S = 30.0
_DONT_CACHE = 0x80
"""RWF_DONTCACHE, Linux 6.14."""
_UNOPENED, _REFUSED = -1, -2

Key = tuple[SegmentId, int]


class Held:
    """One descriptor, and the READs from it that the member has not been told of."""

    __slots__ = ("bytes", "file", "reads", "used")

    def __init__(self, fd: int, used: float) -> None:
        self.file = ChunkFile(fd)
        self.used = used
        self.reads = 0
        self.bytes = 0


class HeldChunks:
    """Not thread-safe; hot."""

    def __init__(self, limit: int, now: Callable[[], float]) -> None:
        self._limit = limit
        self._now = now
        self._table: dict[Key, Held] = {}
        self._told: list[tuple[Key, int, int]] = []

    def __len__(self) -> int:
        return len(self._table)

    def get(self, key: Key) -> Held | None:
        return self._table.get(key)

    def put(self, key: Key, fd: int) -> Held:
        """Takes the descriptor over; the one that is held already stays where there is one."""
        found = self._table.get(key)
        if found is not None:
            os.close(fd)
            return found
        if len(self._table) >= self._limit:
            self._drop_idlest()
        held = self._table[key] = Held(fd, self._now())
        return held

    def drop(self, key: Key) -> None:
        held = self._table.pop(key, None)
        if held is not None:
            held.file.close()
            if held.reads:
                self._told.append((key, held.reads, held.bytes))

    def sweep(self) -> None:
        oldest = self._now() - IDLE_S
        for key, held in list(self._table.items()):
            if held.used < oldest or not os.fstat(held.file.fd).st_nlink:
                self.drop(key)

    def reads(self) -> list[tuple[Key, int, int]]:
        """Chunk, READs and bytes since the last call."""
        told, self._told = self._told, []
        for key, held in self._table.items():
            if held.reads:
                told.append((key, held.reads, held.bytes))
                held.reads = held.bytes = 0
        return told

    def close(self) -> None:
        for key in list(self._table):
            self.drop(key)

    def _drop_idlest(self) -> None:
        """An eighth at once: looking for the idlest costs a pass over all."""
        idlest = sorted(self._table, key=lambda key: self._table[key].used)
        for key in idlest[: max(1, self._limit // 8)]:
            self.drop(key)


class ChunkFile:
    """One chunk's file: read from the page cache where the member's fill has just left it there, else past the page cache.

    The mount caches what is read, so the page cache would hold it twice. O_DIRECT takes 20 us of CPU where RWF_DONTCACHE
    takes 50 (100 KB), and more bytes a second at any number of readers; it needs a file description of our own, for the one
    we were given is the member's as well.
    """

    __slots__ = ("_cached", "_direct", "fd")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._direct = _UNOPENED
        self._cached = True  # until a look shows otherwise; then nobody will bring it back

    def read(self, view: memoryview, offset: int) -> None:
        """Fills `view`, page-aligned memory, from an aligned offset. Raises OSError; EIO for a file that is too short."""
        done = _from_cache(self.fd, view, offset) if self._cached else 0
        if done < len(view):
            self._cached = False
            done += self._read_disk(view[done:], offset + done)
        if done != len(view):
            raise OSError(errno.EIO, f"a chunk's file has {done} of {len(view)} bytes at {offset}")

    def close(self) -> None:
        os.close(self.fd)
        if self._direct >= 0:
            os.close(self._direct)

    def _read_disk(self, view: memoryview, offset: int) -> int:
        if self._direct == _UNOPENED:
            self._direct = _open_direct(self.fd)
        if self._direct >= 0 and not (offset | len(view)) % BLOCK_SIZE:
            return os.preadv(self._direct, [view], offset)
        try:
            return os.preadv(self.fd, [view], offset, _DONT_CACHE)
        except OSError as exc:
            if exc.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
        return os.preadv(self.fd, [view], offset)


def _from_cache(fd: int, view: memoryview, offset: int) -> int:
    """Whole blocks that are in the page cache."""
    try:
        done = os.preadv(fd, [view], offset, os.RWF_NOWAIT)
    except OSError as exc:
        if exc.errno not in (errno.EAGAIN, errno.EOPNOTSUPP):
            raise
        return 0
    return done if done == len(view) else done // BLOCK_SIZE * BLOCK_SIZE


def _open_direct(fd: int) -> int:
    """_REFUSED where the file system has no direct I/O."""
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    except OSError as exc:
        if exc.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise
        return _REFUSED
