import json
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.operator.cli.conftest import NEW, OLD, Desk

ERROR = {"reason": "MountUnsupported", "message": "the kernel has no EROFS: load it with modprobe erofs"}


class FakeAgent:
    """Answers as contract/agent.py says; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.status = 200

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.asked.append((request.path, body))
        if self.status != 200:
            return web.json_response(ERROR, status=self.status)
        return web.Response(status=204) if request.path == "/v1/unmount" else web.json_response(body)


@pytest.fixture
async def agent(desk: Desk) -> AsyncIterator[FakeAgent]:
    made = FakeAgent()
    app = web.Application()
    app.router.add_post("/v1/{verb}", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    with tempfile.TemporaryDirectory() as folder:
        desk.state = Path(folder)
        desk.environment["FOREBAY_STATE"] = folder
        await web.UnixSite(runner, f"{folder}/agent.sock").start()
        yield made
        await runner.cleanup()


async def test_the_agent_is_given_all_it_needs(desk: Desk, agent: FakeAgent, tmp_path: Path) -> None:
    await desk.furnish()
    done = await desk.run("mount", "photos", str(tmp_path / "m"))
    assert done.code == 0, done.err
    path, body = agent.asked[0]
    assert path == "/v1/mounts"
    assert body["commit"] == NEW
    assert body["target"] == str(tmp_path / "m")
    assert body["cluster_uid"] == desk.cluster["metadata"]["uid"]
    assert body["member_socket"] == f"{desk.state}/pods/default.main-0/root/run/forebay/member.sock"


async def test_an_older_commit_by_its_first_letters(desk: Desk, agent: FakeAgent, tmp_path: Path) -> None:
    await desk.furnish()
    shown = json.loads((await desk.run("mount", "photos", str(tmp_path / "m"), "--commit", "a", "-o", "json")).out)
    assert shown["commit"] == OLD


async def test_the_agents_words_reach_the_user(desk: Desk, agent: FakeAgent, tmp_path: Path) -> None:
    await desk.furnish()
    for status, code in ((501, 6), (500, 1), (503, 4), (404, 3)):
        agent.status = status
        done = await desk.run("mount", "photos", str(tmp_path / "m"))
        assert (done.code, done.err) == (code, f"forebay mount: {ERROR['message']}\n")


async def test_no_agent_says_why(desk: Desk, tmp_path: Path) -> None:
    await desk.furnish()
    desk.left_out = "they need root"
    done = await desk.run("mount", "photos", str(tmp_path / "m"))
    assert (done.code, done.err) == (6, "forebay mount: no mounts here: they need root\n")
    desk.left_out = ""
    done = await desk.run("mount", "photos", str(tmp_path / "m"))
    assert done.code == 4
    assert "is `forebay up` running, as root?" in done.err
