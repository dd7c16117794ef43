import asyncio
import fcntl
import os
import signal
from pathlib import Path

import pytest
from tests.operator.cli.conftest import DATASET_STATUS, Desk
from tests.rigs import objects

from forebay_operator.cli import up

EXAMPLES = str(Path(__file__).parents[3] / "examples")


def make_ready(desk: Desk) -> None:
    async def sleep() -> None:
        await desk.furnish()

    desk.after_up = sleep


async def test_once_ready_ends_when_all_is_and_leaves_nothing(desk: Desk, tmp_path: Path) -> None:
    default = tmp_path / "place" / "default"
    desk.environment["FOREBAY_STATE"] = str(default)
    desk.left_out = "they need root"
    make_ready(desk)
    done = await desk.run("up", "-f", EXAMPLES, "--once-ready")
    assert done.code == 0, done.err
    lines = done.err.splitlines()
    state = Path(lines[0].removeprefix("state is in "))
    assert lines[1] == "mounts are left out: they need root"
    assert "Dataset photos: ready, commit bbbbbbbbbbbb: 1,200 files, 5.0 MiB" in lines
    assert lines[-1] == "stopped; nothing is mounted or running"
    assert not state.exists()
    assert not default.parent.exists()


async def test_not_ready_in_time_says_what_is_not(desk: Desk, tmp_path: Path) -> None:
    done = await desk.run("up", "-f", EXAMPLES, "--once-ready", "--timeout", "0", "--state", str(tmp_path / "s"))
    assert done.code == 4
    assert "not ready within 0 s: CacheCluster main: starting" in done.err


async def test_a_signal_ends_it(desk: Desk, tmp_path: Path) -> None:
    async def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    desk.after_up = interrupt
    async with asyncio.timeout(20):
        done = await desk.run("up", "-f", EXAMPLES, "--state", str(tmp_path / "s"))
    assert done.code == 0
    assert "stopped" in done.err


async def test_while_it_runs_the_default_place_points_to_it(desk: Desk, tmp_path: Path) -> None:
    default = Path(desk.environment["FOREBAY_STATE"]) / "default"
    desk.environment["FOREBAY_STATE"] = str(default)
    seen = []

    async def look() -> None:
        seen.append(default.resolve())
        await desk.furnish()

    desk.after_up = look
    await desk.run("up", "-f", EXAMPLES, "--once-ready", "--state", str(tmp_path / "kept"))
    assert seen == [tmp_path / "kept"]
    assert not default.is_symlink()


def test_the_place_of_one_that_lives_is_left_alone(tmp_path: Path) -> None:
    living, default = tmp_path / "living", tmp_path / "default"
    living.mkdir()
    default.symlink_to(living)
    with (living / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert not up.point(default, tmp_path / "new")
        assert default.resolve() == living
    assert up.point(default, tmp_path / "new")
    assert os.readlink(default) == str(tmp_path / "new")


def test_only_a_directory_of_ours_that_nobody_has_is_left_behind(tmp_path: Path) -> None:
    default = tmp_path / "default"
    assert up.left_behind(default) is None
    default.symlink_to(tmp_path)
    assert up.left_behind(default) is None


async def test_what_was_said_is_not_said_again(desk: Desk, tmp_path: Path) -> None:
    await desk.furnish()
    await desk.put_status(objects.dataset("default"), DATASET_STATUS)
    make_ready(desk)
    done = await desk.run("up", "-f", EXAMPLES, "--once-ready", "--state", str(tmp_path / "s"))
    assert done.err.count("Dataset photos: ready") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_a_place_we_may_not_look_into_is_left_alone(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir(mode=0o700)
    os.chmod(tmp_path, 0o755)
    os.seteuid(65534)
    try:
        assert up.left_behind(place / "default") is None
        assert not up.point(place / "default", tmp_path / "s")
    finally:
        os.seteuid(0)
