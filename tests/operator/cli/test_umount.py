from pathlib import Path

from tests.operator.cli.conftest import Desk
from tests.operator.cli.test_mount import FakeAgent, agent

__all__ = ["agent"]


async def test_the_agent_unmounts_the_absolute_path(desk: Desk, agent: FakeAgent) -> None:
    done = await desk.run("umount", "some/where")
    assert done.code == 0, done.err
    assert agent.asked == [("/v1/unmount", {"target": str(Path("some/where").absolute())})]
