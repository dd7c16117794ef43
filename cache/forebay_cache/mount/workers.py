"""Looks after the workers of one volume: logs what they complain of, replaces those that die, sees when they are done.

A worker ends by itself, with status 0, when the kernel has ended the FUSE connection: nothing uses the volume any more.
"""

import asyncio
import logging
import os
import subprocess
from collections import deque
from collections.abc import Callable

from forebay_cache.model.ids import CommitId
from forebay_cache.mount.session import Session
from forebay_cache.mount.tally import Totals

REVIVALS = 5
REVIVALS_S = 60.0
"""A volume whose workers die more often than that gives EIO from then on, instead of never an answer."""
END_S = 1.0
log = logging.getLogger("forebay.mount")


class Workers:
    """Takes the session over. Bound to one event loop."""

    def __init__(self, session: Session, commit: CommitId, ended: Callable[["Workers"], None]) -> None:
        self._session = session
        self._commit = commit
        self._tell_ended = ended
        self._loop = asyncio.get_running_loop()
        self._revived: deque[float] = deque(maxlen=REVIVALS)
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()
        self._watched: set[subprocess.Popen[bytes]] = set()
        for process in session.processes:
            self._watch(process)

    def totals(self) -> Totals:
        return self._session.totals()

    async def ended_by_itself(self) -> bool:
        """Waits a moment for the kernel to let go of the volume."""
        try:
            async with asyncio.timeout(END_S):
                await self._ended.wait()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Ends the workers, after they have answered all that waits. Idempotent."""
        for process in list(self._watched):
            self._unwatch(process)
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._close_session()

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        self._watched.add(process)
        os.set_blocking(process.stderr.fileno(), False)
        self._loop.add_reader(process.stderr.fileno(), self._on_output, process)

    def _unwatch(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        self._watched.discard(process)
        self._loop.remove_reader(process.stderr.fileno())

    def _on_output(self, process: subprocess.Popen[bytes]) -> None:
        """A line is a complaint; the end of lines is the end of the worker."""
        assert process.stderr is not None
        try:
            text = os.read(process.stderr.fileno(), 65536)
        except BlockingIOError:
            return
        for line in text.decode(errors="replace").splitlines():
            log.warning("a read failed", extra={"commit": self._commit, "detail": line})
        if not text:
            self._unwatch(process)
            task = self._loop.create_task(self._replace(process))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _replace(self, process: subprocess.Popen[bytes]) -> None:
        status = await asyncio.to_thread(process.wait)
        if status != 0 and await self._revive(process, status):
            return
        if status != 0 or not self._watched:
            for other in list(self._watched):
                self._unwatch(other)
            await self._close_session()

    async def _revive(self, process: subprocess.Popen[bytes], status: int) -> bool:
        now = self._loop.time()
        often = len(self._revived) == REVIVALS and now - self._revived[0] < REVIVALS_S
        successor = None if often else await asyncio.to_thread(self._session.revive, process)
        log.error("a worker died", extra={"commit": self._commit, "status": status, "replaced": successor is not None})
        if successor is None:
            return False
        self._revived.append(now)
        self._watch(successor)
        return True

    async def _close_session(self) -> None:
        await asyncio.to_thread(self._session.close)
        if not self._ended.is_set():
            self._ended.set()
            self._tell_ended(self)
