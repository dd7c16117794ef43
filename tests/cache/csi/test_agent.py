"""The agent's answers as the driver understands them."""

from pathlib import Path

import pytest
from aiohttp import web
from tests.cache.csi.conftest import NEW, OLD, FakeAgent, agent_socket

from forebay_cache.contract.agent import MountRequest, ResolveRequest, UnmountRequest
from forebay_cache.csi.agent import HttpAgent
from forebay_cache.model import errors


async def test_every_call_reaches_the_agent(folder: Path) -> None:
    fake, path = FakeAgent(), folder / "agent.sock"
    async with agent_socket(fake, path), HttpAgent(str(path), 5.0) as agent:
        found = await agent.resolve(ResolveRequest(cluster_uid="c", dataset_uid="d"))
        assert (found.commit, found.files, found.bytes, found.member_socket) == (OLD, 7, 7000, "/run/m0")
        target = str(folder / "mount")
        asked = MountRequest(
            cluster_uid="c", dataset_uid="d", commit=NEW, target=target, member_socket="/run/m0", for_pods=True
        )
        assert (await agent.mount(asked)).target == target
        assert [mount.commit for mount in await agent.mounts()] == [NEW]
        await agent.unmount(UnmountRequest(target=target, for_pods=True, remove=True))
        assert await agent.mounts() == ()
        assert await agent.why_not_ready() == ""
        fake.not_ready = "no loop devices"
        assert await agent.why_not_ready() == "no loop devices"


@pytest.mark.parametrize(
    "kind",
    ["BadInput", "NotFound", "TargetGone", "TargetInUse", "MountUnsupported", "MountFailed", "MemberUnreachable"],
)
async def test_its_refusals_keep_their_kind_and_words(folder: Path, kind: str) -> None:
    fake, path = FakeAgent(), folder / "agent.sock"
    fake.refuse["resolve"] = [getattr(errors, kind)("the words")]
    async with agent_socket(fake, path), HttpAgent(str(path), 5.0) as agent:
        with pytest.raises(getattr(errors, kind), match="the words") as caught:
            await agent.resolve(ResolveRequest(cluster_uid="c", dataset_uid="d"))
        assert type(caught.value).__name__ == kind


async def test_an_agents_restart_costs_no_call(folder: Path) -> None:
    fake, path = FakeAgent(), folder / "agent.sock"
    async with HttpAgent(str(path), 5.0) as agent:
        for _ in range(3):
            async with agent_socket(fake, path):
                await agent.unmount(UnmountRequest(target=str(folder / "mount"), for_pods=True))


async def test_no_agent_a_slow_one_and_a_strange_one_are_told_apart(folder: Path) -> None:
    fake, path = FakeAgent(), folder / "agent.sock"
    async with HttpAgent(str(path), 0.1) as agent:
        with pytest.raises(
            errors.AgentUnreachable, match=r"does not answer: No such file or directory; .* pod running"
        ):
            await agent.mounts()
        assert "pod running" in await agent.why_not_ready()
        fake.gate.clear()
        asked = MountRequest(
            cluster_uid="c", dataset_uid="d", commit=NEW, target=str(folder / "m"), member_socket="/", for_pods=True
        )
        async with agent_socket(fake, path):
            with pytest.raises(errors.DeadlineExceeded, match=r"within 0.1 s"):
                await agent.mount(asked)
        for status in (200, 500):
            async with strange_agent(path, status):
                with pytest.raises(errors.AgentUnreachable, match="answers"):
                    await agent.mounts()


class strange_agent:  # noqa: N801  reads as a function where it is used
    def __init__(self, path: Path, status: int) -> None:
        self._path, self._status = path, status

    async def __aenter__(self) -> None:
        application = web.Application()
        application.router.add_get("/v1/mounts", self.answer)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self._path)).start()

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def answer(self, request: web.Request) -> web.Response:
        return web.Response(status=self._status, text="<html>")
