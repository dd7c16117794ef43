import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import pytest
from examples.demo import litter

RUN = """
import pathlib, signal, subprocess, sys
from examples.demo import litter
with litter.own_directory(pathlib.Path(sys.argv[1])) as work:
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()", str(work)])
    print(work, child.pid, flush=True)
    signal.pause()
"""


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litter, "GRACE_S", 0.2)


@pytest.fixture
def run(tmp_path: pathlib.Path) -> Iterator[tuple[subprocess.Popen[str], pathlib.Path, int]]:
    """A running demo, as far as its litter goes: the process, its directory, a child of it."""
    with subprocess.Popen([sys.executable, "-c", RUN, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        work, child = process.stdout.readline().split()
        try:
            yield process, pathlib.Path(work), int(child)
        finally:
            process.kill()
            if int(child) in dict(litter.processes(pathlib.Path(work))):
                os.kill(int(child), 9)


def test_a_living_run_is_left_alone(
    tmp_path: pathlib.Path, run: tuple[subprocess.Popen[str], pathlib.Path, int]
) -> None:
    _, work, child = run
    assert litter.clear(tmp_path) == []
    assert work.is_dir()
    assert child in dict(litter.processes(work))


def test_what_a_killed_run_left_is_ended_and_removed(
    tmp_path: pathlib.Path, run: tuple[subprocess.Popen[str], pathlib.Path, int]
) -> None:
    process, work, _ = run
    process.kill()
    process.wait()
    assert litter.found(work) != []
    assert litter.clear(tmp_path) == [work]
    assert not work.exists()
    assert [pid for pid, _ in litter.processes(work) if pathlib.Path(f"/proc/{pid}").exists()] == []


def test_the_next_run_clears_away_what_the_last_one_left(
    tmp_path: pathlib.Path, run: tuple[subprocess.Popen[str], pathlib.Path, int]
) -> None:
    process, work, _ = run
    process.kill()
    process.wait()
    with litter.own_directory(tmp_path) as mine:
        assert sorted(tmp_path.iterdir()) == [mine]
    assert not work.exists()
    assert list(tmp_path.iterdir()) == []


def test_nothing_of_others_is_touched(tmp_path: pathlib.Path) -> None:
    (tmp_path / "forebay-demo").mkdir()
    (tmp_path / "forebay-something").mkdir()
    with tempfile.NamedTemporaryFile(dir=tmp_path) as other:
        assert litter.clear(tmp_path) == []
        assert pathlib.Path(other.name).exists()
    assert len(list(tmp_path.iterdir())) == 2
