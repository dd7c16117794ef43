"""Leases the S3 face keeps between requests, one a chunk, bounded.

A held lease pins 8 MiB of disk once its chunk is evicted, so `sweep`, called every 100 ms, gives up what was evicted or
quarantined (its file was unlinked or renamed, which the file's own change time shows, whoever did it) or has been idle; a
lease in use is closed by its last user.
"""

import os
from collections.abc import Iterable

from forebay_cache.model.ids import ChunkId
from forebay_cache.model.ranges import Span
from forebay_cache.read.base import Reader
from forebay_cache.serve.base import Accesses
from forebay_cache.store.base import Lease

IDLE_SWEEPS = 100
"""A lease nobody used for so many sweeps is given up: 10 s."""


class Pin:
    """A lease on a chunk and who uses it. `requests` and `bytes` count hits that nobody has been told of yet. A `dropped`
    pin takes no new users."""

    __slots__ = ("_mark", "bytes", "chunk", "dropped", "fd", "idle", "lease", "requests", "users")

    def __init__(self, chunk: ChunkId, lease: Lease) -> None:
        self.chunk = chunk
        self.lease = lease
        self.fd = lease.fd
        self.users = 0
        self.requests = 0
        self.bytes = 0
        self.idle = 0
        self.dropped = False
        self._mark = self._named()

    def changed(self) -> bool:
        """Whether the file was unlinked, renamed or written since."""
        return self._named() != self._mark

    def is_of(self, lease: Lease) -> bool:
        """Whether the lease is on the same file."""
        return lease.fd == self.fd or os.path.sameopenfile(lease.fd, self.fd)

    def _named(self) -> tuple[int, int]:
        status = os.fstat(self.fd)
        return status.st_nlink, status.st_ctime_ns

    def use(self, length: int) -> None:
        """One user more, for a hit of `length` bytes that the reader does not see."""
        self.users += 1
        self.idle = 0
        self.requests += 1
        self.bytes += length

    def release(self) -> None:
        """Pairs with `users += 1`."""
        self.users -= 1
        if self.dropped and not self.users:
            self.lease.close()


class Pins:
    """At most `limit` kept pins; the longest-held one makes room."""

    def __init__(self, reader: Reader, limit: int) -> None:
        self._reader = reader
        self._limit = limit
        self._pins: dict[ChunkId, Pin] = {}

    def __len__(self) -> int:
        return len(self._pins)

    def take(self, span: Span) -> Pin | None:
        """A pin on bytes the reader has just vouched for, with one user more; None on a miss. Objects of one chunk share it,
        but each must have taken it once: of a partial chunk only what was vouched for is there."""
        lease = self._reader.lease(span)
        if lease is None:
            return None
        pin = self._pins.get(span.chunk)
        if pin is not None and pin.is_of(lease):
            lease.close()
        else:
            # of another file the chunk was evicted and filled anew: the old one may lack these bytes
            self.drop(span.chunk)
            pin = Pin(span.chunk, lease)
            self._keep(pin)
        pin.users += 1
        return pin

    def drop(self, chunk: ChunkId) -> None:
        """Gives the chunk up: at once, or when its last user has sent its bytes."""
        pin = self._pins.pop(chunk, None)
        if pin is not None:
            pin.dropped = True
            if not pin.users:
                pin.lease.close()

    def sweep(self) -> None:
        for pin in list(self._pins.values()):
            pin.idle += 1
            if pin.idle > IDLE_SWEEPS or pin.changed():
                self.drop(pin.chunk)

    def report(self, accesses: Accesses) -> None:
        """Tells of the hits since the last report."""
        for pin in self._used():
            accesses(pin.chunk, pin.requests, pin.bytes)
            pin.requests = pin.bytes = 0

    def close(self) -> None:
        for chunk in list(self._pins):
            self.drop(chunk)

    def _used(self) -> Iterable[Pin]:
        return [pin for pin in self._pins.values() if pin.requests]

    def _keep(self, pin: Pin) -> None:
        if not self._limit:
            pin.dropped = True
            return
        if len(self._pins) >= self._limit:
            self.drop(next(iter(self._pins)))
        self._pins[pin.chunk] = pin
