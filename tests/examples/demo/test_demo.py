"""The demo as a person runs it, with less data."""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import pytest
from examples.demo import litter
from tests.rigs import rgw

ROOT = pathlib.Path(__file__).parents[3]
SMALL = ("--photos=90", "--archive-mb=9")
NEEDED = ("setpriv", "umount")
DEADLINE_S = 200

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def base() -> Iterator[pathlib.Path]:
    """Short, because unix sockets lie in it; whatever a failed run left in it goes."""
    with tempfile.TemporaryDirectory(prefix="fb-", dir="/var/tmp", ignore_cleanup_errors=True) as folder:
        yield pathlib.Path(folder)
        litter.clear(pathlib.Path(folder))


@pytest.fixture
def without_store(tmp_path: pathlib.Path) -> dict[str, str]:
    """An environment in which no object store is installed."""
    for name in NEEDED:
        found = shutil.which(name)
        assert found
        (tmp_path / name).symlink_to(found)
    return {**os.environ, "PATH": str(tmp_path)}


def demo(base: pathlib.Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "examples.demo", f"--dir={base}", *SMALL, *options]


def ran(base: pathlib.Path, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        demo(base),
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def rows(said: str) -> dict[str, list[str]]:
    """The table: name -> MB/s, files/s, hit ratio, origin requests, origin MB, wrong files."""
    lines = [
        [cell.strip() for cell in line.strip("│").split("│")] for line in re.findall(r"^│.*│$", said, re.MULTILINE)
    ]
    return {name: cells for name, *cells in lines}


def holds(said: str, base: pathlib.Path) -> None:
    """What every run promises."""
    table = rows(said)
    assert list(table)[:4] == ["straight from origin", "1 cold", "2 from the store", "3 page cache"]
    assert {cells[5] for cells in table.values()} == {"0"}, "wrong files"
    assert table["straight from origin"][3] == "92", "a request for each file"
    assert [table[name][2] for name in ("2 from the store", "3 page cache")] == ["100%", "100%"]
    assert "nothing is mounted or running" in said
    assert list(base.iterdir()) == []


@pytest.mark.rgw
def test_the_demo_reads_a_real_store_that_moved_to_another_port(base: pathlib.Path) -> None:
    if reason := rgw.missing():
        pytest.skip(reason)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 9000))
            taken.listen()
        except OSError:
            pass  # somebody else has it: just as well
        said = ran(base)
    assert "Port 9000 is taken" in said
    assert "Saved over" in said
    holds(said, base)


def test_without_a_store_it_says_so_and_takes_a_directory(base: pathlib.Path, without_store: dict[str, str]) -> None:
    said = ran(base, without_store)
    assert "Left out: the S3 store and the distance to it, because no Ceph object gateway" in said
    assert ("Mounted." in said) != ("Left out: the mount, because" in said)
    holds(said, base)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_ends_it_and_leaves_nothing(
    base: pathlib.Path, without_store: dict[str, str], number: signal.Signals
) -> None:
    with subprocess.Popen(
        demo(base), cwd=ROOT, env=without_store, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout
        said = ""
        while not re.search("^Mounted|^Reading over S3", said, re.MULTILINE):
            line = process.stdout.readline()
            assert line, said
            said += line
        (work,) = base.iterdir()
        process.send_signal(number)
        said += process.communicate(timeout=DEADLINE_S)[0]
    assert process.returncode == 128 + number, said
    assert litter.found(work) == []
    assert list(base.iterdir()) == []


def test_a_disk_too_small_is_told_before_anything_starts(base: pathlib.Path) -> None:
    command = demo(base, "--archive-mb=99999999")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 1
    assert "GB of disk" in done.stdout
    assert "--dir DIR" in done.stdout


def test_a_path_too_long_for_sockets_is_told_before_anything_starts(base: pathlib.Path) -> None:
    folder = base / ("deep" * 9)
    folder.mkdir()
    done = subprocess.run(demo(folder), cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 1
    assert "is too long: unix sockets" in done.stdout
