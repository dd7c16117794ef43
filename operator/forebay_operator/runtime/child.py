"""Run as a program: becomes a pod's command, tied to the life of the process that started it.

    python -I -S child.py PARENT_PID COMMAND [ARGUMENT...]

The kernel sends SIGTERM when the parent dies, however it dies. This is a program of its own, not a `preexec_fn`, because the
parent has threads: Python code between fork and exec could wait there for a lock nobody holds. Imports nothing of ours.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def become(parent: int, command: list[str]) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before the call above
        sys.exit(1)
    try:
        os.execvp(command[0], command)  # noqa: S606 - no shell is what we want
    except OSError as exc:
        sys.exit(f"cannot run {command[0]}: {exc.strerror}")


if __name__ == "__main__":
    become(int(sys.argv[1]), sys.argv[2:])
