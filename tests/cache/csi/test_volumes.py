"""Which commit a volume shows, and for how long; what is remembered at each step."""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.cache.csi.conftest import ATTRIBUTES, NEW, OLD, Clock, FakeAgent

from forebay_cache.contract.agent import MountRequest, UnmountRequest
from forebay_cache.csi.base import Limits
from forebay_cache.csi.healing import Healing
from forebay_cache.csi.records import Records
from forebay_cache.csi.volumes import Volumes
from forebay_cache.model import errors
from forebay_cache.model.errors import MountFailed, NotFound, StoreFailed, VolumeConflict, VolumeNotStaged

IDLE_S = 60.0


@dataclass
class Node:
    volumes: Volumes
    agent: FakeAgent
    clock: Clock
    folder: Path

    def path(self, name: str) -> str:
        (self.folder / name).mkdir(exist_ok=True)
        return str(self.folder / name / "mount")


@contextlib.contextmanager
def node(folder: Path, agent: FakeAgent, clock: Clock, boot_id: str = "boot") -> Iterator[Node]:
    """As after a start: what the one before remembered is read from disk."""
    records = Records(str(folder / "state"))
    try:
        yield Node(Volumes(records, agent, Limits(IDLE_S, 5.0, clock, boot_id)), agent, clock, folder)
    finally:
        records.close()


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Node]:
    with node(tmp_path, FakeAgent(), Clock()) as made:
        yield made


async def test_latest_stays_while_any_pod_has_the_volume(one: Node) -> None:
    await one.volumes.stage("v", ATTRIBUTES, one.path("stage"))
    one.agent.head = NEW
    for pod in ("a", "b"):
        await one.volumes.publish("v", ATTRIBUTES, one.path("stage"), one.path(pod))
        one.clock.time += 10 * IDLE_S
    await one.volumes.unpublish("v", one.path("a"))
    await one.volumes.stage("v", ATTRIBUTES, one.path("stage"))
    await one.volumes.publish("v", ATTRIBUTES, one.path("stage"), one.path("c"))
    assert set(one.agent.shown.values()) == {OLD}


async def test_latest_stays_for_a_rank_that_is_made_again_and_advances_when_idle(one: Node) -> None:
    for wait, commit in ((0.0, OLD), (IDLE_S - 1, OLD), (IDLE_S - 1, OLD), (IDLE_S, NEW)):
        one.clock.time += wait
        await one.volumes.stage("v", ATTRIBUTES, one.path("stage"))
        assert one.agent.shown == {one.path("stage"): commit}
        await one.volumes.unstage("v", one.path("stage"))
        one.agent.head = NEW


async def test_a_clock_set_back_does_not_hold_an_old_commit(one: Node) -> None:
    await one.volumes.stage("v", ATTRIBUTES, one.path("stage"))
    await one.volumes.unstage("v", one.path("stage"))
    one.agent.head = NEW
    one.clock.time -= 3600
    await one.volumes.stage("v", ATTRIBUTES, one.path("stage"))
    assert one.agent.shown == {one.path("stage"): NEW}


async def test_a_remembered_commit_that_is_gone_gives_way(one: Node) -> None:
    await one.volumes.stage("v", ATTRIBUTES, one.path("stage"))
    await one.volumes.unstage("v", one.path("stage"))
    one.agent.head = NEW
    one.agent.commits = {NEW}
    await one.volumes.stage("v", ATTRIBUTES, one.path("stage"))
    assert one.agent.shown == {one.path("stage"): NEW}


async def test_a_pinned_commit_is_that_one_or_none(one: Node) -> None:
    pinned = ATTRIBUTES.model_copy(update={"commit": NEW})
    await one.volumes.stage("v", pinned, one.path("stage"))
    assert one.agent.shown == {one.path("stage"): NEW}
    gone = ATTRIBUTES.model_copy(update={"commit": "c" * 64})
    with pytest.raises(NotFound):
        await one.volumes.stage("w", gone, one.path("other"))


async def test_two_commits_of_a_dataset_are_mounted_side_by_side(one: Node) -> None:
    await one.volumes.stage("v", ATTRIBUTES, one.path("a"))
    await one.volumes.stage("w", ATTRIBUTES.model_copy(update={"commit": NEW}), one.path("b"))
    assert one.agent.shown == {one.path("a"): OLD, one.path("b"): NEW}


async def test_a_volume_in_use_does_not_become_another(one: Node) -> None:
    other = ATTRIBUTES.model_copy(update={"dataset_uid": "d-2", "dataset_name": "other"})
    await one.volumes.stage("v", ATTRIBUTES, one.path("stage"))
    with pytest.raises(VolumeConflict, match="team/photos"):
        await one.volumes.stage("v", other, one.path("stage"))
    with pytest.raises(VolumeConflict, match="team/photos"):
        await one.volumes.publish("v", other, one.path("stage"), one.path("pod"))
    await one.volumes.unstage("v", one.path("stage"))
    await one.volumes.stage("v", other, one.path("stage"))
    assert one.agent.calls("mount")[-1].dataset_uid == "d-2"


async def test_publishing_needs_this_staging_path(one: Node) -> None:
    await one.volumes.stage("v", ATTRIBUTES, one.path("stage"))
    with pytest.raises(VolumeNotStaged, match="deleted and made again"):
        await one.volumes.publish("v", ATTRIBUTES, one.path("elsewhere"), one.path("pod"))


async def test_a_restart_in_the_same_boot_remembers_everything(tmp_path: Path) -> None:
    agent, clock = FakeAgent(), Clock()
    with node(tmp_path, agent, clock) as first:
        await first.volumes.stage("v", ATTRIBUTES, first.path("stage"))
    agent.head = NEW
    clock.time += 10 * IDLE_S
    with node(tmp_path, agent, clock) as second:
        await second.volumes.publish("v", ATTRIBUTES, second.path("stage"), second.path("pod"))
    assert set(agent.shown.values()) == {OLD}


async def test_after_a_reboot_the_commit_stays_and_no_mount_is_made_by_itself(tmp_path: Path) -> None:
    agent, clock = FakeAgent(), Clock()
    with node(tmp_path, agent, clock) as first:
        await first.volumes.stage("v", ATTRIBUTES, first.path("stage"))
    agent.shown.clear()
    agent.head = NEW
    clock.time += 3600
    with node(tmp_path, agent, clock, boot_id="next") as second:
        await Healing(second.volumes, 1.0).look()
        assert agent.shown == {}
        await second.volumes.stage("v", ATTRIBUTES, second.path("stage"))
    assert set(agent.shown.values()) == {OLD}


async def test_a_path_is_written_down_after_its_mount_and_crossed_out_before_its_end(tmp_path: Path) -> None:
    """So a driver that dies at any point never brings up what the kubelet does not count on."""
    agent, clock = FakeAgent(), Clock()

    def remembered() -> list[str]:
        """What a driver started right now would read; ours holds the lock, so only look."""
        return [path.read_text() for path in (tmp_path / "state").glob("*.json")]

    seen: list[tuple[str, str, bool]] = []
    real_mount, real_unmount = agent.mount, agent.unmount

    async def mount(asked: MountRequest) -> object:
        seen.append(("mount", OLD in remembered()[0], asked.target in remembered()[0]))  # type: ignore[arg-type]
        return await real_mount(asked)

    async def unmount(asked: UnmountRequest) -> None:
        seen.append(("unmount", OLD in remembered()[0], asked.target in remembered()[0]))  # type: ignore[arg-type]
        await real_unmount(asked)

    agent.mount, agent.unmount = mount, unmount  # type: ignore[method-assign,assignment]
    with node(tmp_path, agent, clock) as one:
        await one.volumes.stage("v", ATTRIBUTES, one.path("stage"))
        await one.volumes.publish("v", ATTRIBUTES, one.path("stage"), one.path("pod"))
        await one.volumes.unpublish("v", one.path("pod"))
        await one.volumes.unstage("v", one.path("stage"))
    assert seen == [("mount", True, False), ("mount", True, False), ("unmount", True, False), ("unmount", True, False)]


async def test_a_mount_that_failed_is_not_remembered_and_one_cut_off_keeps_its_commit(one: Node) -> None:
    one.agent.refuse["mount"] = [MountFailed("EIO")]
    with pytest.raises(MountFailed):
        await one.volumes.stage("v", ATTRIBUTES, one.path("stage"))
    one.agent.head = NEW
    await Healing(one.volumes, 1.0).look()
    assert one.agent.shown == {}
    await one.volumes.stage("v", ATTRIBUTES, one.path("stage"))
    assert one.agent.shown == {one.path("stage"): OLD}


async def test_a_caller_that_is_gone_stops_nothing(one: Node) -> None:
    one.agent.gate.clear()
    call = asyncio.ensure_future(one.volumes.stage("v", ATTRIBUTES, one.path("stage")))
    while not one.agent.calls("mount"):
        await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    one.agent.gate.set()
    await one.volumes.close()
    assert one.volumes.shown("v", one.path("stage")).commit == OLD


async def test_a_full_disk_says_so_and_the_same_call_later_works(one: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", _no_space)
        with pytest.raises(StoreFailed, match="No space left"):
            await one.volumes.stage("v", ATTRIBUTES, one.path("stage"))
    await one.volumes.stage("v", ATTRIBUTES, one.path("stage"))
    assert one.agent.shown == {one.path("stage"): OLD}


async def test_a_member_with_another_socket_takes_over(one: Node) -> None:
    await one.volumes.stage("v", ATTRIBUTES, one.path("stage"))
    one.agent.sockets = {"/run/m1"}
    with pytest.raises(errors.MemberUnreachable):
        await one.volumes.publish("v", ATTRIBUTES, one.path("stage"), one.path("pod"))
    one.agent.socket, one.agent.head = "/run/m1", NEW
    await one.volumes.publish("v", ATTRIBUTES, one.path("stage"), one.path("pod"))
    assert one.agent.shown[one.path("pod")] == OLD


def _no_space(fd: int) -> None:
    raise OSError(28, "No space left on device")
