"""The driver over its sockets, as a kubelet sees it; the agent is a fake one behind the agent's contract."""

import asyncio
import os
import stat
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import grpc
import pytest
from tests.cache.csi.conftest import ATTRIBUTES, NEW, OLD, READER, FakeAgent, house, refused

from forebay_cache.csi.wire import csi_pb2 as csi
from forebay_cache.model import errors
from forebay_cache.model.errors import ConfigError

Code = grpc.StatusCode
MODES = csi.VolumeCapability.AccessMode


async def test_a_kubelet_learns_who_it_is_and_what_it_can(folder: Path) -> None:
    async with house(folder) as h:
        info = await h.kubelet.identity("GetPluginInfo")
        assert (info.name, bool(info.vendor_version)) == ("csi.forebay.dev", True)
        await h.kubelet.identity("GetPluginCapabilities")
        assert (await h.kubelet.identity("Probe")).ready.value
        h.agent.not_ready = "no EROFS"
        assert not (await h.kubelet.identity("Probe")).ready.value
        can = await h.kubelet.node("NodeGetCapabilities")
        assert [one.rpc.type for one in can.capabilities] == [1, 2]
        assert (await h.kubelet.node("NodeGetInfo")).node_id == "node-1"


async def test_it_registers_itself_and_is_ready_from_then_on(folder: Path) -> None:
    async with house(folder, health_port=0) as h:
        assert "no kubelet has asked" in h.driver.registration.why_not
        assert (await ask(h, "/readyz"))[0] == 503
        info = await h.kubelet.register(error="no")
        assert (info.type, info.name, list(info.supported_versions)) == ("CSIPlugin", "csi.forebay.dev", ["1.0.0"])
        assert info.endpoint == h.kubelet.paths.driver
        assert await ask(h, "/readyz") == (503, "the kubelet refused it: no\n")
        await h.kubelet.register()
        assert await ask(h, "/readyz") == (200, "ok\n")
        h.agent.not_ready = "no EROFS"
        assert await ask(h, "/readyz") == (503, "no EROFS\n")
        assert (await ask(h, "/healthz"))[0] == 200
        await h.kubelet.stage()
        metrics = (await ask(h, "/metrics"))[1]
        assert 'forebay_csi_calls_total{operation="NodeStageVolume",status="OK"} 1.0' in metrics
        assert "forebay_csi_volumes 1.0" in metrics


async def test_its_sockets_are_for_root_alone_and_go_with_it(folder: Path) -> None:
    async with house(folder) as h:
        paths = (h.kubelet.paths.driver, h.kubelet.paths.registration)
        assert [stat.S_IMODE(os.stat(path).st_mode) for path in paths] == [0o600, 0o600]
    assert not any(os.path.exists(path) for path in paths)


async def test_a_volume_comes_up_and_goes_again(folder: Path) -> None:
    async with house(folder) as h:
        await h.kubelet.stage()
        target = await h.kubelet.publish("pod")
        assert h.agent.shown == {h.kubelet.staging(): OLD, target: OLD}
        await h.kubelet.unpublish("pod")
        assert not os.path.exists(target)
        await h.kubelet.unstage()
        assert h.agent.shown == {}
        assert os.path.isdir(h.kubelet.staging())


async def test_every_call_can_be_repeated_and_come_in_any_order(folder: Path) -> None:
    async with house(folder) as h:
        for _ in range(2):
            await h.kubelet.unpublish("pod")
            await h.kubelet.unstage()
        with refused(Code.FAILED_PRECONDITION, "not staged"):
            await h.kubelet.publish("pod")
        for _ in range(2):
            await h.kubelet.stage()
        for _ in range(2):
            await h.kubelet.publish("pod")
        await h.kubelet.stage()
        await h.kubelet.unstage()
        with refused(Code.FAILED_PRECONDITION, "not staged"):
            await h.kubelet.publish("other")
        for _ in range(2):
            await h.kubelet.unpublish("pod")
        assert h.agent.shown == {}


STAGE: dict[str, Any] = {
    "volume_id": "v",
    "staging_target_path": "{kubelet}/plugins/s",
    "volume_capability": READER,
    "volume_context": dict(ATTRIBUTES.attributes()),
}
PUBLISH = STAGE | {"target_path": "{kubelet}/pods/t"}


@pytest.mark.parametrize(
    ("method", "fields", "missing", "code"),
    [
        ("NodeStageVolume", STAGE, "volume_id", Code.INVALID_ARGUMENT),
        ("NodeStageVolume", STAGE, "staging_target_path", Code.INVALID_ARGUMENT),
        ("NodeStageVolume", STAGE, "volume_capability", Code.INVALID_ARGUMENT),
        ("NodeStageVolume", STAGE, "volume_context", Code.INVALID_ARGUMENT),
        ("NodePublishVolume", PUBLISH, "volume_id", Code.INVALID_ARGUMENT),
        ("NodePublishVolume", PUBLISH, "target_path", Code.INVALID_ARGUMENT),
        ("NodePublishVolume", PUBLISH, "volume_capability", Code.INVALID_ARGUMENT),
        ("NodePublishVolume", PUBLISH, "volume_context", Code.INVALID_ARGUMENT),
        ("NodePublishVolume", PUBLISH, "staging_target_path", Code.FAILED_PRECONDITION),
        ("NodeUnstageVolume", STAGE, "volume_id", Code.INVALID_ARGUMENT),
        ("NodeUnstageVolume", STAGE, "staging_target_path", Code.INVALID_ARGUMENT),
        ("NodeUnpublishVolume", PUBLISH, "volume_id", Code.INVALID_ARGUMENT),
        ("NodeUnpublishVolume", PUBLISH, "target_path", Code.INVALID_ARGUMENT),
        ("NodeGetVolumeStats", {"volume_id": "v", "volume_path": "{kubelet}/x"}, "volume_id", Code.INVALID_ARGUMENT),
        ("NodeGetVolumeStats", {"volume_id": "v", "volume_path": "{kubelet}/x"}, "volume_path", Code.INVALID_ARGUMENT),
    ],
)
async def test_what_is_missing_is_named(folder: Path, method: str, fields: Any, missing: str, code: Any) -> None:
    known = {field.name for field in getattr(csi, f"{method}Request").DESCRIPTOR.fields}
    async with house(folder) as h:
        given = {name: value for name, value in fields.items() if name in known and name != missing}
        for name, value in given.items():
            given[name] = value.format(kubelet=h.kubelet.folder) if isinstance(value, str) else value
        with refused(code, missing):
            await h.kubelet.node(method, **given)
        assert not h.agent.asked


async def test_a_writer_is_refused_with_the_reason(folder: Path) -> None:
    writer = csi.VolumeCapability(mount={}, access_mode=MODES(mode=MODES.MULTI_NODE_MULTI_WRITER))
    async with house(folder) as h:
        with refused(Code.INVALID_ARGUMENT, "MULTI_NODE_MULTI_WRITER", "immutable", "ReadOnlyMany"):
            await h.kubelet.node("NodeStageVolume", **_stage_of(h, volume_capability=writer))


async def test_what_the_agent_refuses_has_its_code(folder: Path) -> None:
    cases: list[tuple[str, Exception, Any]] = [
        ("resolve", errors.NotFound("no such Dataset"), Code.NOT_FOUND),
        ("resolve", errors.MemberUnreachable("no member"), Code.UNAVAILABLE),
        ("mount", errors.TargetInUse("in use"), Code.FAILED_PRECONDITION),
        ("mount", errors.MountUnsupported("no EROFS"), Code.FAILED_PRECONDITION),
        ("mount", errors.MountFailed("EIO"), Code.INTERNAL),
        ("mount", errors.DeadlineExceeded("late"), Code.DEADLINE_EXCEEDED),
        ("mount", errors.StoreFailed("of another kind"), Code.INTERNAL),
    ]
    async with house(folder) as h:
        for kind, failure, code in cases:
            h.agent.refuse[kind] = [failure]
            with refused(code, str(failure)):
                await h.kubelet.stage()
        assert h.agent.shown == {}
        await h.kubelet.stage()


async def test_an_agent_that_is_not_there_is_unavailable(folder: Path) -> None:
    async with house(folder, agent_socket=str(folder / "nobody.sock")) as h:
        with refused(Code.UNAVAILABLE, "nobody.sock", "pod running"):
            await h.kubelet.stage()
        await h.driver.healing.look()
        assert not (await h.kubelet.identity("Probe")).ready.value


async def test_a_call_that_hangs_is_answered_in_time_and_can_be_repeated(folder: Path) -> None:
    async with house(folder) as h:
        h.agent.gate.clear()
        with refused(Code.DEADLINE_EXCEEDED, "same call again is safe"):
            await h.kubelet.stage(timeout_s=0.5)
        h.agent.gate.set()
        await h.kubelet.stage()
        assert h.agent.shown == {h.kubelet.staging(): OLD}


async def test_a_second_call_for_a_volume_waits_and_gives_up_as_aborted(folder: Path) -> None:
    async with house(folder, wait_s=0.05) as h:
        h.agent.gate.clear()
        first = asyncio.ensure_future(h.kubelet.stage())
        while not h.agent.calls("mount"):
            await asyncio.sleep(0)
        with refused(Code.ABORTED, "still under way"):
            await h.kubelet.unstage()
        h.agent.gate.set()
        await asyncio.gather(first, h.kubelet.stage("another"))
        assert h.agent.shown[h.kubelet.staging()] == OLD


async def test_calls_for_one_volume_never_overlap(folder: Path) -> None:
    async with house(folder) as h:
        await h.kubelet.stage()
        pods = [f"p{number}" for number in range(20)]
        await asyncio.gather(*(h.kubelet.publish(pod) for pod in pods), *(h.kubelet.stage() for _ in range(5)))
        assert len(h.agent.shown) == 21
        await asyncio.gather(*(h.kubelet.unpublish(pod) for pod in pods))
        assert list(h.agent.shown) == [h.kubelet.staging()]


async def test_stats_are_the_commits_counts(folder: Path) -> None:
    async with house(folder) as h:
        await h.kubelet.stage()
        target = await h.kubelet.publish("pod")
        before = list(h.agent.asked)
        for path in (target, h.kubelet.staging()):
            answer = await h.kubelet.node("NodeGetVolumeStats", volume_id="v", volume_path=path)
            assert [(u.unit, u.total, u.used, u.available) for u in answer.usage] == [(1, 7000, 7000, 0), (2, 7, 7, 0)]
        assert h.agent.asked == before
        for volume, path in (("v", h.kubelet.target("nobody")), ("other", target), ("v", "some/path")):
            with refused(Code.NOT_FOUND, volume):
                await h.kubelet.node("NodeGetVolumeStats", volume_id=volume, volume_path=path)


async def test_a_restart_remembers_the_commit_and_what_is_up(folder: Path) -> None:
    agent = FakeAgent()
    async with house(folder, agent) as h:
        await h.kubelet.stage()
        await h.kubelet.publish("pod")
    agent.head = NEW
    async with house(folder, agent) as h:
        await h.kubelet.stage()
        target = await h.kubelet.publish("second")
        assert agent.shown[target] == OLD
        await h.kubelet.unpublish("pod")
        await h.kubelet.unpublish("second")
        await h.kubelet.unstage()
        assert agent.shown == {}


async def test_an_error_of_ours_says_nothing_but_where_to_look(folder: Path) -> None:
    async with house(folder) as h:
        h.driver.volumes.stage = None  # type: ignore[method-assign,assignment]
        with refused(Code.INTERNAL, "the log of the node's csi container"):
            await h.kubelet.stage()


async def test_a_second_driver_and_a_long_path_are_refused(folder: Path) -> None:
    async with house(folder):
        with pytest.raises(ConfigError, match="another CSI node runs"):
            async with house(folder):
                pass
    with pytest.raises(ConfigError, match="more than the 107 bytes"):
        async with house(folder, kubelet_dir=str(folder / ("x" * 90))):
            pass


def _stage_of(h: Any, **other: Any) -> dict[str, Any]:
    return STAGE | {"staging_target_path": h.kubelet.staging()} | other


async def ask(h: Any, path: str) -> tuple[int, str]:
    return await asyncio.to_thread(_get, f"http://127.0.0.1:{h.driver.health_port}{path}")


def _get(url: str) -> tuple[int, str]:
    try:
        with urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except OSError as exc:
        return exc.code, exc.read().decode()  # type: ignore[attr-defined]
