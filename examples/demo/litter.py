"""What a demo leaves on a machine: nothing, or after a SIGKILL what the next one clears away.

A run has a directory of its own, locked as long as it lives. Its processes name that directory in their command lines, its
mounts lie in it, and its loop devices end with its mounts.
"""

import contextlib
import ctypes
import fcntl
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator

GRACE_S = 15.0
"""Processes that lost their parent are stopping already."""
LONGEST_BASE = 27
"""Of the 107 bytes of a unix socket's path 80 go to what lies between the base and the member's socket."""
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """Somebody ended the demo. Not an Exception, as KeyboardInterrupt is none: nothing on the way may handle it."""

    def __init__(self, number: int) -> None:
        super().__init__("interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}")
        self.code = 128 + number


def end_in_order() -> None:
    """The first signal raises Interrupted, and `with` blocks put everything away; later ones must not disturb them."""
    for number in ENDS:
        signal.signal(number, _interrupt)
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: when `make` is killed, this ends in good order


def _interrupt(number: int, _: object) -> None:
    for one in ENDS:
        signal.signal(one, signal.SIG_IGN)
    raise Interrupted(number)


@contextlib.contextmanager
def own_directory(base: pathlib.Path) -> Iterator[pathlib.Path]:
    """In `base` and not in the repository, whose path may be too long for sockets. Clears away what killed runs left."""
    clear(base)
    with tempfile.TemporaryDirectory(prefix=_prefix(), dir=base, ignore_cleanup_errors=True) as folder:
        work = pathlib.Path(folder)
        lock = os.open(work / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield work
        finally:
            os.close(lock)


def clear(base: pathlib.Path) -> list[pathlib.Path]:
    """Ends, unmounts and removes what our killed runs left -> their directories."""
    dead = [path for path in base.glob(f"{_prefix()}*") if path.stat().st_uid == os.getuid() and _is_dead(path)]
    for work in dead:
        _end(work)
        for point in reversed(mounts(work)):
            subprocess.run(["umount", "-l", point], check=False, capture_output=True)
        if not mounts(work):
            shutil.rmtree(work, ignore_errors=True)
    return dead


def found(work: pathlib.Path) -> list[str]:
    """What is left of a run: mounts and processes, as a person would look for them."""
    return [f"mount {point}" for point in mounts(work)] + [f"process {pid}: {line}" for pid, line in processes(work)]


def mounts(work: pathlib.Path) -> list[str]:
    lines = pathlib.Path("/proc/self/mounts").read_text().splitlines()
    return [point for point in (line.split()[1] for line in lines) if point.startswith(f"{work}/")]


def processes(work: pathlib.Path) -> list[tuple[int, str]]:
    """Those of ours whose command line names the directory, but ourselves."""
    named = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(work) in line and int(entry.name) != os.getpid() and entry.stat().st_uid == os.getuid():
                named.append((int(entry.name), line.strip()))
    return named


def _end(work: pathlib.Path) -> None:
    until = time.monotonic() + GRACE_S
    while (left := processes(work)) and time.monotonic() < until:
        time.sleep(0.1)
    for pid, _ in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _is_dead(work: pathlib.Path) -> bool:
    """Whether nobody holds the lock. The kernel lets it go however its holder ends."""
    try:
        lock = os.open(work / "lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False  # it is being made, or taken away
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True


def _prefix() -> str:
    return f"forebay-demo-{os.getuid()}-"
