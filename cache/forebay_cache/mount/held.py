"""Descriptors of complete chunks that a worker holds between READs. Each pins 8 MiB of the member's disk.

Bounded; the idlest goes first; `sweep` drops what was not read for a while and what the member evicted meanwhile.
"""

import errno
import os
from collections.abc import Callable
from typing import Final

from forebay_cache.model.ids import SegmentId

IDLE_S = 30.0
_DONT_CACHE = 0x80
"""RWF_DONTCACHE, Linux 6.14: the mount caches what is read; without it the page cache would hold it twice."""

Key = tuple[SegmentId, int]


class Held:
    """One descriptor, and the READs from it that the member has not been told of."""

    __slots__ = ("bytes", "fd", "reads", "used")

    def __init__(self, fd: int, used: float) -> None:
        self.fd: Final = fd
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
            os.close(held.fd)
            if held.reads:
                self._told.append((key, held.reads, held.bytes))

    def sweep(self) -> None:
        oldest = self._now() - IDLE_S
        for key, held in list(self._table.items()):
            if held.used < oldest or not os.fstat(held.fd).st_nlink:
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
    """Reads chunk files in the best way this kernel and file system have."""

    def __init__(self) -> None:
        self._read = _read_uncached

    def read(self, fd: int, view: memoryview, offset: int) -> None:
        """Fills `view`, which must be page-aligned memory. Raises OSError; EIO for a file that is too short."""
        try:
            count = self._read(fd, view, offset)
        except OSError as exc:
            if exc.errno not in (errno.EOPNOTSUPP, errno.EINVAL) or self._read is _read_plain:
                raise
            self._read = _read_direct if self._read is _read_uncached else _read_plain
            return self.read(fd, view, offset)
        if count != len(view):
            raise OSError(errno.EIO, f"a chunk's file has {count} of {len(view)} bytes at {offset}")
        return None


def _read_uncached(fd: int, view: memoryview, offset: int) -> int:
    return os.preadv(fd, [view], offset, _DONT_CACHE)


def _read_direct(fd: int, view: memoryview, offset: int) -> int:
    """Past the page cache, on a file description of our own: the one we were given is the member's as well."""
    own = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    try:
        return os.preadv(own, [view], offset)
    finally:
        os.close(own)


def _read_plain(fd: int, view: memoryview, offset: int) -> int:
    return os.preadv(fd, [view], offset)
