from pathlib import Path

from tests.operator.cli.conftest import Desk
from tests.operator.cli.test_mount import FakeAgent, agent

from forebay_cache.contract.agent import UnmountRequest

__all__ = ["agent"]


async def test_the_agent_unmounts_the_absolute_path(desk: Desk, agent: FakeAgent) -> None:
    done = await desk.run("umount", "some/where")
    assert done.code == 0, done.err
    ((path, asked),) = agent.asked
    assert (path, UnmountRequest.model_validate(asked)) == (
        "/v1/unmount",
        UnmountRequest(target=str(Path("some/where").absolute())),
    )
