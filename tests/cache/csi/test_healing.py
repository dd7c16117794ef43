"""What an agent lost comes back; what a kubelet gave back, or a pod that is gone, does not."""

import shutil
from pathlib import Path

import pytest
from tests.cache.csi.conftest import ATTRIBUTES, NEW, OLD, FakeAgent, house

from forebay_cache.model.errors import AgentUnreachable, MemberUnreachable


async def test_after_an_agents_crash_every_path_shows_its_commit_again(folder: Path) -> None:
    async with house(folder) as h:
        await h.kubelet.stage()
        target = await h.kubelet.publish("pod")
        h.agent.shown.clear()
        h.agent.head = NEW
        await h.driver.healing.look()
        assert h.agent.shown == {h.kubelet.staging(): OLD, target: OLD}
        assert [asked.target for asked in h.agent.calls("mount")[-2:]] == [h.kubelet.staging(), target]
        asked = len(h.agent.asked)
        await h.driver.healing.look()
        assert len(h.agent.asked) == asked + 1  # a look at the list, no more


async def test_what_was_given_back_stays_away(folder: Path) -> None:
    async with house(folder) as h:
        await h.kubelet.stage()
        await h.kubelet.publish("pod")
        await h.kubelet.unpublish("pod")
        await h.kubelet.unstage()
        await h.driver.healing.look()
        assert h.agent.shown == {}


async def test_a_pod_that_is_gone_is_forgotten(folder: Path) -> None:
    async with house(folder) as h:
        await h.kubelet.stage()
        target = await h.kubelet.publish("pod")
        h.agent.shown.clear()
        shutil.rmtree(folder / "kubelet/pods/pod")
        await h.driver.healing.look()
        assert h.agent.shown == {h.kubelet.staging(): OLD}
        assert not (volume := h.driver.volumes.records.get("v")) or target not in volume.paths


async def test_one_volume_that_cannot_come_back_holds_up_no_other(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with house(folder) as h:
        for volume in ("v", "w"):
            await h.kubelet.stage(volume)
        h.agent.shown.clear()
        h.agent.refuse["mount"] = [MemberUnreachable("gone")]
        await h.driver.healing.look()
        assert len(h.agent.shown) == 1
        h.agent.refuse["mount"] = [MemberUnreachable("gone")]
        await h.driver.healing.look()
        await h.driver.healing.look()
        assert len(h.agent.shown) == 2
    assert sum("not looked after" in record.message for record in caplog.records) == 1


async def test_an_agent_that_is_away_is_waited_for(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with house(folder) as h:
        await h.kubelet.stage()
        h.agent.refuse["mounts"] = [AgentUnreachable("away")] * 3
        for _ in range(3):
            await h.driver.healing.look()
        h.agent.shown.clear()
        await h.driver.healing.look()
        assert h.agent.shown == {h.kubelet.staging(): OLD}
    assert sum("not looked after" in record.message for record in caplog.records) == 1


async def test_a_volume_long_idle_is_forgotten(folder: Path) -> None:
    agent = FakeAgent()
    async with house(folder, agent, idle_s=60.0) as h:
        await h.kubelet.stage()
        await h.kubelet.unstage()
        await h.driver.healing.look()
        assert h.driver.volumes.records.get("v") is not None
        h.clock.time += 61
        await h.driver.healing.look()
        assert h.driver.volumes.records.get("v") is None
        assert not list((folder / "state").iterdir())


def test_attributes_of_these_tests_follow_latest() -> None:
    assert ATTRIBUTES.pinned is None
