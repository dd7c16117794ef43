import json
from pathlib import Path

import pytest
from tests.operator.cli.conftest import NEW, Desk

from forebay_cache.contract.prefetch import Failure, PrefetchReport, PrefetchRequest

RUNNING = PrefetchReport(
    id="p", state="Running", request=PrefetchRequest(), commit=NEW, started_ms=1, files=12, bytes=5 << 20,
    files_done=6, bytes_done=2 << 20, fetched=2 << 20, rate=1 << 20, eta_s=3.0,
)  # fmt: skip
DONE = RUNNING.model_copy(
    update={
        "state": "Complete",
        "files_done": 12,
        "bytes_done": 5 << 20,
        "fetched": 5 << 20,
        "rate": 0.0,
        "eta_s": None,
    }
)


async def test_it_is_waited_for_and_told(desk: Desk) -> None:
    await desk.furnish()
    desk.members.reports = [RUNNING, RUNNING, DONE]
    done = await desk.run("prefetch", "photos", "--prefix", "train/", "--rate", "2Mi")
    assert done.code == 0
    assert desk.members.prefetches == [PrefetchRequest(prefix="train/", bytes_per_second=2 << 20)]
    heading, row = done.out.splitlines()
    assert heading.split() == ["MEMBER", "STATE", "FILES", "SIZE", "FETCHED", "RATE", "LEFT", "FAILED"]
    assert " ".join(row.split()[1:]) == "Complete 12 of 12 5.0 MiB of 5.0 MiB 5.0 MiB - - 0"
    assert desk.members.closed


async def test_nobody_has_to_wait(desk: Desk) -> None:
    await desk.furnish()
    desk.members.reports = [RUNNING]
    done = await desk.run("prefetch", "photos", "--no-wait", "-o", "json")
    assert (done.code, json.loads(done.out)[0]["eta_s"]) == (0, 3.0)
    assert "3 s" in (await shown(desk, "--status", RUNNING)).out
    assert "Stopped" in (await shown(desk, "--stop", RUNNING)).out
    assert (await shown(desk, "--status")).out == "no prefetch ever ran\n"


async def shown(desk: Desk, how: str, *reports: PrefetchReport):
    desk.members.reports = list(reports)
    return await desk.run("prefetch", "photos", how)


async def test_what_failed_is_listed_and_fails_the_command(desk: Desk) -> None:
    await desk.furnish()
    failed = {"state": "Failed", "message": "23 files could not be read", "failed": 23}
    desk.members.reports = [DONE.model_copy(update={**failed, "failures": (Failure(path="a/1", message="gone"),)})]
    done = await desk.run("prefetch", "photos")
    assert done.code == 1
    said = [line.split(": ", 1)[1] for line in done.out.splitlines()[2:]]
    assert said == ["23 files could not be read", "a/1: gone", "and 22 more files"]


async def test_paths_come_from_a_file(desk: Desk, tmp_path: Path) -> None:
    await desk.furnish()
    listed = tmp_path / "paths"
    listed.write_text("a/1\nwith space \n\nb\n")
    desk.members.reports = [DONE]
    assert (await desk.run("prefetch", "photos", "--evict", "--paths-from", str(listed))).code == 0
    assert desk.members.prefetches == [PrefetchRequest(action="Evict", paths=("a/1", "with space ", "b"))]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("--paths-from", "/nonexistent"), "No such file"),
        (("--paths-from", "/dev/null"), "0 paths; from 1 to 100000 go"),
        (("--rate", "fast"), "'fast' is not a quantity"),
        (("--rate", "1Ki"), "at least 64Ki for each of 1 member"),
    ],
)
async def test_bad_choices_are_told(desk: Desk, given: tuple[str, ...], says: str) -> None:
    await desk.furnish()
    done = await desk.run("prefetch", "photos", *given)
    assert done.code == 2
    assert says in done.err


async def test_a_prefix_and_paths_exclude_each_other(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        await desk.run("prefetch", "photos", "--prefix", "a", "--paths-from", "b")
    assert "not allowed with argument" in capsys.readouterr().err


async def test_a_member_that_falls_silent_ends_the_waiting_not_the_prefetch(desk: Desk) -> None:
    await desk.furnish()
    desk.members.reports = [RUNNING]
    desk.members.silent = True
    times = iter(range(0, 10_000, 10))
    desk.now = lambda: float(next(times))
    done = await desk.run("prefetch", "photos")
    assert done.code == 4
    assert "no answer in time; the prefetch goes on where it can" in done.err
