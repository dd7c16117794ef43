"""What becomes of a sync whose process is no good; the process itself is tested in tests/cache/main."""

import asyncio
import sys
from collections.abc import AsyncIterator

import pytest

from forebay_cache.contract.admin import SyncReport
from forebay_cache.contract.config import DatasetState
from forebay_cache.member import syncs

DATASET = DatasetState(uid="u", namespace="ns", name="photos", bucket="photos", sources=())
PROGRAMS = {
    "there is none": ("/nonexistent/program",),
    "it ends before it is told its job": ("/bin/false",),
    "it never ends its line": (sys.executable, "-c", "print('x' * (2 << 20))"),
    "it ends without a verdict": (sys.executable, "-c", "import sys; sys.stdin.read(); sys.exit(3)"),
}


@pytest.fixture
async def made() -> AsyncIterator[syncs.Syncs]:
    found = syncs.Syncs("/nonexistent", lambda: 7)
    yield found
    await found.aclose()


async def ended(made: syncs.Syncs) -> SyncReport:
    async with asyncio.timeout(60):
        while True:
            report = made.newest("u")
            if report and report.state != "Running":
                return report
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("what", PROGRAMS)
async def test_a_process_that_is_no_good_is_a_failure_that_is_told_once_and_tried_again(
    made: syncs.Syncs, what: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(syncs, "command", lambda: PROGRAMS[what])
    for _ in range(2):
        caplog.clear()
        first = made.start(DATASET, None)
        assert first.state == "Running"
        report = await ended(made)
        assert (report.id, report.state, report.reason, report.finished_ms) == (first.id, "Failed", "Killed", 7)
        assert "tried again" in report.message
        ours = [
            one for one in caplog.records if one.name.startswith("forebay")
        ]  # asyncio's watcher of children talks too
        assert [(one.levelname, one.getMessage()) for one in ours] == [("WARNING", "sync ended")]


async def test_one_that_runs_is_not_started_twice(made: syncs.Syncs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syncs, "command", lambda: (sys.executable, "-c", "import time; time.sleep(99)"))
    assert made.start(DATASET, None) == made.start(DATASET, None)
    await asyncio.sleep(0)  # a task that never began has nothing to tell
    await made.aclose()
    report = made.newest("u")
    assert report
    assert (report.state, report.reason) == ("Failed", "Killed")
