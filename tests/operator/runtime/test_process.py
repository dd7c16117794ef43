import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from forebay_operator.runtime import process
from forebay_operator.runtime.process import Command, Processes

STUBBORN = "import signal,time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def command(tmp_path: Path, *argv: str) -> Command:
    return Command(argv, {"PATH": os.environ["PATH"], "WORD": "hello"}, tmp_path, tmp_path / "log")


async def test_output_goes_to_the_log_and_the_code_comes_back(tmp_path: Path) -> None:
    processes = Processes(tmp_path / "records")
    body = "import os,sys; print(os.environ['WORD'], flush=True); sys.exit(3)"
    child = await processes.start(command(tmp_path, "python", "-c", body))
    assert await child.wait() == 3
    assert (tmp_path / "log").read_text() == "hello\n"
    assert not list((tmp_path / "records").iterdir())


async def test_a_missing_program_says_so_in_the_log(tmp_path: Path) -> None:
    child = await Processes(tmp_path / "records").start(command(tmp_path, "/no/such/program"))
    assert await child.wait() == 1
    assert "cannot run /no/such/program" in (tmp_path / "log").read_text()


async def test_stop_kills_what_ignores_it_and_its_children(tmp_path: Path) -> None:
    child = await Processes(tmp_path / "records").start(command(tmp_path, "python", "-c", STUBBORN))
    started = process.start_time(child.pid)
    assert await child.stop(0.2) in (-signal.SIGKILL, -signal.SIGTERM)
    assert not process.group_alive(child.pid, started)


async def test_the_next_start_ends_what_a_killed_parent_left(tmp_path: Path) -> None:
    """The parent is killed; its child ignores the signal the kernel sends then."""
    program = f"""
import asyncio, os, signal, sys
from pathlib import Path
from forebay_operator.runtime.process import Command, Processes
async def main():
    place = Path({str(tmp_path)!r})
    child = await Processes(place / "records").start(
        Command(["python", "-c", {STUBBORN!r}], dict(os.environ), place, place / "log"))
    while "up" not in (place / "log").read_text():
        await asyncio.sleep(0.01)
    print(child.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=30)
    assert done.returncode == -signal.SIGKILL, done.stderr
    left = int(done.stdout)
    started = process.start_time(left)
    assert process.group_alive(left, started)
    assert await Processes(tmp_path / "records").end_orphans(grace_s=0.2) == [left]
    assert not process.group_alive(left, started)


async def test_a_record_of_another_boot_or_process_is_only_removed(tmp_path: Path) -> None:
    records = tmp_path / "records"
    processes = Processes(records)
    (records / str(os.getpid())).write_text(f"{process.boot_id()} {process.start_time(os.getpid()) + 10**9}")
    (records / "1").write_text("another-boot 0")
    assert await processes.end_orphans() == []
    assert not list(records.iterdir())


def test_a_long_log_is_cut_and_one_older_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LOG_LIMIT", 10)
    log = tmp_path / "member.log"
    log.write_text("short")
    process.trim(log)
    assert log.read_text() == "short"
    log.write_text("0123456789abc")
    process.trim(log)
    assert (log.read_text(), (tmp_path / "member.log.1").read_text()) == ("", "3456789abc")
