"""Asks whether file bytes are in the page cache, and reads those that are not in threads, so that `sendfile` on the event
loop never waits for a disk.

Budget: 1.5 us a question. cachestat(2) (Linux 6.5) says whether every page is there, preadv2(RWF_NOWAIT) on the last byte
whether its read is done; where cachestat is missing or forbidden, three bytes are asked for instead of every page.
"""

import asyncio
import contextlib
import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

PAGE = 4096
STEP = 128 << 10
"""A thread touches one byte in each: less than the kernel reads ahead at once, so a touch waits for all before it."""
_CACHESTAT = 451  # the same number on every architecture

# PyDLL keeps the GIL: the call never waits, and giving the GIL up costs more than the call
_syscall = ctypes.PyDLL(None, use_errno=True).syscall
_syscall.argtypes = [ctypes.c_long, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint]
_syscall.restype = ctypes.c_long


class PageCache:
    """One an event loop. `threads`: how many reads from disk run at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop, threads: int) -> None:
        self._loop = loop
        self._pool = ThreadPoolExecutor(threads, "page-cache")
        self._range = (ctypes.c_uint64 * 2)()
        self._stat = (ctypes.c_uint64 * 5)()
        self._range_at, self._stat_at = ctypes.addressof(self._range), ctypes.addressof(self._stat)
        self._byte = [bytearray(1)]
        self._counted = True

    def resident(self, fd: int, start: int, stop: int) -> bool:
        """Whether a read of [start, stop) would not wait. May be wrong right after, as any answer would."""
        if not self._counted:
            return all(self._ready(fd, at) for at in (stop - 1, start, (start + stop) // 2))
        self._range[0], self._range[1] = start, stop - start
        if _syscall(_CACHESTAT, fd, self._range_at, self._stat_at, 0):
            self._counted = False
            return self.resident(fd, start, stop)
        pages = (stop - 1) // PAGE - start // PAGE + 1
        return self._stat[0] >= pages and self._ready(fd, stop - 1)

    def _ready(self, fd: int, at: int) -> bool:
        try:
            return os.preadv(fd, self._byte, at, os.RWF_NOWAIT) == 1
        except OSError:
            return False  # EAGAIN, or a file system that cannot say

    def warm(self, fd: int, start: int, stop: int, then: Callable[[], None]) -> None:
        """Reads [start, stop) into the page cache in a thread, then calls `then` on the loop. The caller may close `fd`."""
        self._pool.submit(self._warm, os.dup(fd), start, stop, then)

    def _warm(self, fd: int, start: int, stop: int, then: Callable[[], None]) -> None:
        with contextlib.suppress(OSError):  # whoever reads these bytes next meets the error, and says so
            _touch(fd, start, stop)
        os.close(fd)
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits
            self._loop.call_soon_threadsafe(then)

    def close(self) -> None:
        """Waits for the reads under way."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def _touch(fd: int, start: int, stop: int) -> None:
    os.posix_fadvise(fd, start, stop - start, os.POSIX_FADV_WILLNEED)
    for at in range(start, stop, STEP):
        os.pread(fd, 1, at)
    os.pread(fd, 1, stop - 1)
