"""Local processes: started in a session of their own, recorded, stopped as a group, found again after a crash.

A record is a file `<pid>` that holds boot id and start time, so a number that the kernel gave to somebody else since is never
signalled. It is written before anyone waits for the process, and removed after the group has ended.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

CHILD = str(Path(__file__).with_name("child.py"))
LOG_LIMIT = 8 << 20
STOP_POLL_S = 0.05
ORPHAN_GRACE_S = 3.0
"""An orphan was told to stop when its parent died."""
KILL_WAIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Command:
    """What to run. `log` gets stdout and stderr, appended."""

    argv: Sequence[str]
    env: Mapping[str, str]
    directory: Path
    log: Path


class Processes:
    """Starts processes and remembers them under `records`."""

    def __init__(self, records: Path) -> None:
        self._records = records
        records.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def start(self, command: Command) -> "Process":
        """Raises OSError when the program cannot be started."""
        trim(command.log)
        log = os.open(command.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        argv = [sys.executable, "-I", "-S", CHILD, str(os.getpid()), *resolve(command.argv)]
        try:
            child = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(command.env),
                cwd=command.directory,
                start_new_session=True,
            )
        finally:
            os.close(log)
        record = self._records / str(child.pid)
        record.write_text(f"{boot_id()} {start_time(child.pid)}")
        return Process(child, record, command.log)

    async def end_orphans(self, grace_s: float = ORPHAN_GRACE_S) -> list[int]:
        """Stops what a killed predecessor left running. Returns the groups it found alive."""
        ended = []
        for record in sorted(self._records.iterdir()):
            pid, (boot, _, started) = int(record.name), record.read_text().partition(" ")
            if boot == boot_id() and group_alive(pid, int(started)):
                await end_group(pid, int(started), grace_s)
                ended.append(pid)
            record.unlink()
        return ended


class Process:
    """One running process and its group."""

    def __init__(self, child: asyncio.subprocess.Process, record: Path, log: Path) -> None:
        self._child = child
        self._record = record
        self._log = log
        self._started = start_time(child.pid)

    @property
    def pid(self) -> int:
        return self._child.pid

    async def wait(self) -> int:
        """Exit code, negative for a signal. The rest of the group is ended before this returns."""
        code = await self._child.wait()
        await end_group(self.pid, self._started, 0)
        self._record.unlink(missing_ok=True)
        return code

    async def stop(self, grace_s: float) -> int:
        """SIGTERM to the group, SIGKILL after `grace_s`."""
        signal_group(self.pid, signal.SIGTERM)
        try:
            async with asyncio.timeout(grace_s):
                return await self._child.wait()
        except TimeoutError:
            signal_group(self.pid, signal.SIGKILL)
            return await self._child.wait()
        finally:
            await self.wait()

    def trim_log(self) -> None:
        trim(self._log)


def resolve(argv: Sequence[str]) -> list[str]:
    """`python` of an image is the interpreter we run in."""
    return [sys.executable if argv[0] in ("python", "python3") else argv[0], *argv[1:]]


def trim(log: Path) -> None:
    """Keeps a log and one older one, LOG_LIMIT each. Writers append, so they go on at the start of the emptied file; a line
    written between the copy and the cut is lost, which beats a pipe through this process."""
    if not log.exists() or log.stat().st_size < LOG_LIMIT:
        return
    log.with_suffix(".log.1").write_bytes(log.read_bytes()[-LOG_LIMIT:])
    os.truncate(log, 0)


async def end_group(pid: int, started: int, grace_s: float) -> None:
    """Ends what is left of a group, ours or a predecessor's: SIGTERM, after `grace_s` SIGKILL. One that the kernel holds in
    an uninterruptible call is left behind after KILL_WAIT_S more."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + grace_s
    if grace_s:
        signal_group(pid, signal.SIGTERM)
    while group_alive(pid, started) and loop.time() < deadline + KILL_WAIT_S:
        if loop.time() >= deadline:
            signal_group(pid, signal.SIGKILL)
        await asyncio.sleep(STOP_POLL_S)


def signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def group_alive(pid: int, started: int) -> bool:
    """Whether a process of this session, not older than its leader, still runs."""
    stats = (stat_fields(int(entry)) for entry in os.listdir("/proc") if entry.isdigit())
    return any(s and int(s[3]) == pid and int(s[19]) >= started and s[0] not in ("Z", "X") for s in stats)


def start_time(pid: int) -> int:
    """Clock ticks after boot; 0 when it is gone already."""
    fields = stat_fields(pid)
    return int(fields[19]) if fields else 0


def stat_fields(pid: int) -> list[str]:
    """/proc/PID/stat from the third field (state) on: names may hold spaces and brackets, so it is cut after the last."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
