"""Asks whether file bytes are in the page cache, and brings those that are not, so that `sendfile` on the event loop never
waits for a disk.

Budget: 1.5 us a question. cachestat(2) (Linux 6.5) says whether every page is there, preadv2(RWF_NOWAIT) on single bytes
whether their reads are done; where cachestat is missing or forbidden, the single bytes must do.

To bring bytes, the loop itself starts their reads (fadvise, which does not wait), and a few threads wait, each for one run,
the oldest; when a thread is done, the loop looks at all runs. So many reads from disk cost few hand-overs between threads:
a thread for each request cost 230 us of CPU, most of it in passing the GIL around; this costs 58.
"""

import asyncio
import contextlib
import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread

PAGE = 4096
STEP = 128 << 10
"""One byte for each is asked for, and the last: a disk read is seldom shorter, so this sees nearly all under way."""
LATE = 4
_CACHESTAT = 451  # the same number on every architecture

# PyDLL keeps the GIL: the call never waits, and giving the GIL up costs more than the call
_syscall = ctypes.PyDLL(None, use_errno=True).syscall
_syscall.argtypes = [ctypes.c_long, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint]
_syscall.restype = ctypes.c_long


@dataclass(slots=True, eq=False)
class _Run:
    """Bytes being read from disk; `fd` is our own duplicate. `watched`: a thread waits for them."""

    fd: int
    start: int
    stop: int
    then: Callable[[], None]
    watched: bool = False


class PageCache:
    """One an event loop. `threads`: how many runs are waited for at once; any number may be read."""

    def __init__(self, loop: asyncio.AbstractEventLoop, threads: int) -> None:
        self._loop = loop
        self._runs: dict[_Run, None] = {}
        self._idle = threads
        # not an executor, which makes a future and takes four locks for each task: 4 us a request
        self._watched: SimpleQueue[_Run | None] = SimpleQueue()
        self._threads = [Thread(target=self._wait, name="page-cache", daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()
        self._range = (ctypes.c_uint64 * 2)()
        self._stat = (ctypes.c_uint64 * 5)()
        self._range_at, self._stat_at = ctypes.addressof(self._range), ctypes.addressof(self._stat)
        self._byte = [bytearray(1)]
        self._counted = True

    def resident(self, fd: int, start: int, stop: int) -> bool:
        """Whether a read of [start, stop) would not wait. May be wrong right after, as any answer would."""
        return self._present(fd, start, stop) and self._ready(fd, start, stop)

    def warm(self, fd: int, start: int, stop: int, then: Callable[[], None]) -> None:
        """Reads [start, stop) into the page cache, then calls `then` on the loop. The caller may close `fd`."""
        run = _Run(os.dup(fd), start, stop, then)
        with contextlib.suppress(OSError):  # whoever reads these bytes next meets the error, and says so
            os.posix_fadvise(fd, start, stop - start, os.POSIX_FADV_WILLNEED)
        self._runs[run] = None
        if self._idle:
            self._watch()

    def close(self) -> None:
        """Waits for the threads; what was asked for and not called by then is not called any more."""
        for _ in self._threads:
            self._watched.put(None)
        for thread in self._threads:
            thread.join()
        for run in self._runs:
            os.close(run.fd)
        self._runs.clear()

    def _present(self, fd: int, start: int, stop: int) -> bool:
        if not self._counted:
            return True
        self._range[0], self._range[1] = start, stop - start
        if _syscall(_CACHESTAT, fd, self._range_at, self._stat_at, 0):
            self._counted = False
            return True
        return bool(self._stat[0] >= (stop - 1) // PAGE - start // PAGE + 1)

    def _ready(self, fd: int, start: int, stop: int) -> bool:
        try:
            for at in range(start + STEP, stop - 1, STEP):
                os.preadv(fd, self._byte, at, os.RWF_NOWAIT)
            return os.preadv(fd, self._byte, stop - 1, os.RWF_NOWAIT) == 1
        except OSError:
            return False  # EAGAIN, or a file system that cannot say

    def _watch(self) -> None:
        """Lets idle threads wait for the oldest runs."""
        for run in self._runs:
            if not self._idle:
                return
            if not run.watched:
                run.watched = True
                self._idle -= 1
                self._watched.put(run)

    def _wait(self) -> None:
        """A thread's whole life."""
        while (run := self._watched.get()) is not None:
            with contextlib.suppress(OSError):
                for at in range(run.start + STEP, run.stop - 1, STEP):
                    os.pread(run.fd, 1, at)
                os.pread(run.fd, 1, run.stop - 1)
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits
                self._loop.call_soon_threadsafe(self._arrived, run)

    def _arrived(self, waited: _Run) -> None:
        self._idle += 1
        done = [waited, *self._finished()]
        for run in done:
            del self._runs[run]
            os.close(run.fd)
        self._watch()
        for run in done:
            run.then()

    def _finished(self) -> list[_Run]:
        """Runs that nobody waits for and that are here. Disks answer nearly in order, so a few that are not end the
        search."""
        found, late = [], 0
        for run in self._runs:
            if run.watched:
                continue
            if self._ready(run.fd, run.start, run.stop):
                found.append(run)
            else:
                late += 1
                if late == LATE:
                    break
        return found
