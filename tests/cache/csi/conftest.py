"""A kubelet's end of the driver, and an agent that mounts nothing but keeps the agent's contract."""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from aiohttp import web
from google.protobuf.message import Message

from forebay_cache.contract.admin import AdminError
from forebay_cache.contract.agent import Mount, MountList, MountRequest, ResolvedCommit, ResolveRequest, UnmountRequest
from forebay_cache.contract.volume import CsiConfig, VolumeAttributes
from forebay_cache.csi.base import Limits
from forebay_cache.csi.driver import Driver, Paths, driver
from forebay_cache.csi.wire import csi_pb2 as csi
from forebay_cache.csi.wire import registration_pb2 as registration
from forebay_cache.model import errors

PREFIX = "fb-csi-"
OLD, NEW = "a" * 64, "b" * 64
ATTRIBUTES = VolumeAttributes(
    cluster_uid="c-1", dataset_uid="d-1", dataset_namespace="team", dataset_name="photos", commit="Latest"
)
READER = csi.VolumeCapability(
    mount=csi.VolumeCapability.MountVolume(),
    access_mode=csi.VolumeCapability.AccessMode(mode=csi.VolumeCapability.AccessMode.MULTI_NODE_READER_ONLY),
)
STATUS = {"BadInput": 400, "NotFound": 404, "TargetGone": 404, "TargetInUse": 409, "MemberUnreachable": 503}


class Clock:
    def __init__(self) -> None:
        self.time = 1_700_000_000.0

    def __call__(self) -> float:
        return self.time


@dataclass
class FakeAgent:
    """`shown`: commit by target. `refuse`: what the next calls of a kind fail with. `gate`: closed, it holds mounts up."""

    head: str = OLD
    commits: set[str] = field(default_factory=lambda: {OLD, NEW})
    socket: str = "/run/m0"
    sockets: set[str] = field(default_factory=lambda: {"/run/m0"})
    shown: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, Any]] = field(default_factory=list)
    refuse: dict[str, list[Exception]] = field(default_factory=dict)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    not_ready: str = ""

    def __post_init__(self) -> None:
        self.gate.set()

    def calls(self, kind: str) -> list[Any]:
        return [asked for found, asked in self.asked if found == kind]

    async def resolve(self, asked: ResolveRequest) -> ResolvedCommit:
        self._begin("resolve", asked)
        commit = asked.commit or self.head
        if commit not in self.commits:
            raise errors.NotFound(f"no commit {commit}")
        return ResolvedCommit(
            dataset_uid=asked.dataset_uid, commit=commit, files=7, bytes=7000, member_socket=self.socket
        )

    async def mount(self, asked: MountRequest) -> Mount:
        self._begin("mount", asked)
        await self.gate.wait()
        assert asked.for_pods
        if asked.member_socket not in self.sockets:
            raise errors.MemberUnreachable(f"nobody at {asked.member_socket}")
        if not os.path.isdir(os.path.dirname(asked.target)):
            raise errors.TargetGone(f"nothing above {asked.target}")
        if self.shown.get(asked.target, asked.commit) != asked.commit:
            raise errors.TargetInUse(f"{asked.target} shows another commit")
        os.makedirs(asked.target, exist_ok=True)
        self.shown[asked.target] = asked.commit
        return Mount(dataset_uid=asked.dataset_uid, commit=asked.commit, target=asked.target)

    async def unmount(self, asked: UnmountRequest) -> None:
        self._begin("unmount", asked)
        self.shown.pop(asked.target, None)
        if asked.remove:
            with contextlib.suppress(OSError):
                os.rmdir(asked.target)

    async def mounts(self) -> Sequence[Mount]:
        self._begin("mounts", None)
        return [Mount(dataset_uid="d-1", commit=commit, target=target) for target, commit in self.shown.items()]

    async def why_not_ready(self) -> str:
        return self.not_ready

    def _begin(self, kind: str, asked: Any) -> None:
        self.asked.append((kind, asked))
        if self.refuse.get(kind):
            raise self.refuse[kind].pop(0)


@contextlib.asynccontextmanager
async def agent_socket(agent: FakeAgent, path: Path) -> AsyncIterator[None]:
    """The agent's contract over HTTP."""

    @web.middleware
    async def door(request: web.Request, handler: Any) -> web.StreamResponse:
        try:
            return web.json_response(text=await handler(await request.text()))
        except errors.ForebayError as exc:
            said = AdminError(reason=type(exc).__name__, message=str(exc)).model_dump_json()
            return web.Response(status=STATUS.get(type(exc).__name__, 500), text=said)

    async def resolve(body: str) -> str:
        return (await agent.resolve(ResolveRequest.model_validate_json(body))).model_dump_json()

    async def mount(body: str) -> str:
        return (await agent.mount(MountRequest.model_validate_json(body))).model_dump_json()

    async def unmount(body: str) -> str:
        await agent.unmount(UnmountRequest.model_validate_json(body))
        return ""

    async def mounts(body: str) -> str:
        return MountList(mounts=tuple(await agent.mounts())).model_dump_json()

    async def ready(request: web.Request) -> web.Response:
        return web.Response(status=503 if agent.not_ready else 200, text=agent.not_ready or "ok")

    api = web.Application(middlewares=[door])
    routes = [("POST", "/resolve", resolve), ("POST", "/mounts", mount), ("POST", "/unmount", unmount)]
    for method, name, handler in [*routes, ("GET", "/mounts", mounts)]:
        api.router.add_route(method, name, handler)
    application = web.Application()
    application.router.add_get("/readyz", ready)
    application.add_subapp("/v1", api)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.UnixSite(runner, str(path)).start()
        yield
    finally:
        await runner.cleanup()


class Kubelet:
    """Calls a driver as a kubelet does: a connection for each call. `paths` are those it would use."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths = Paths(str(folder))

    def staging(self, volume: str = "v") -> str:
        path = self.folder / "plugins/kubernetes.io/csi" / volume / "globalmount"
        path.mkdir(parents=True, exist_ok=True)
        return str(path)

    def target(self, pod: str) -> str:
        """Its parent is there, it is not: so does a kubelet."""
        path = self.folder / "pods" / pod / "volumes/kubernetes.io~csi/pv/mount"
        path.parent.mkdir(parents=True, exist_ok=True)
        return str(path)

    async def call(
        self, service: str, method: str, request: Message, answer: type[Message], timeout_s: float = 10.0
    ) -> Any:
        async with grpc.aio.insecure_channel(f"unix:{self.paths.driver}") as channel:
            ask = channel.unary_unary(
                f"/{service}/{method}",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=answer.FromString,
            )
            return await ask(request, timeout=timeout_s)

    async def node(self, method: str, timeout_s: float = 10.0, **fields: Any) -> Any:
        request, answer = getattr(csi, f"{method}Request"), getattr(csi, f"{method}Response")
        return await self.call("csi.v1.Node", method, request(**fields), answer, timeout_s)

    async def identity(self, method: str) -> Any:
        request, answer = getattr(csi, f"{method}Request"), getattr(csi, f"{method}Response")
        return await self.call("csi.v1.Identity", method, request(), answer)

    async def register(self, error: str = "") -> Any:
        """As the plugin watcher does when it meets the socket -> what the driver says of itself."""
        async with grpc.aio.insecure_channel(f"unix:{self.paths.registration}") as channel:
            get = channel.unary_unary(
                "/pluginregistration.Registration/GetInfo",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=registration.PluginInfo.FromString,
            )
            tell = channel.unary_unary(
                "/pluginregistration.Registration/NotifyRegistrationStatus",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=registration.RegistrationStatusResponse.FromString,
            )
            info = await get(registration.InfoRequest(), timeout=10)
            await tell(registration.RegistrationStatus(plugin_registered=not error, error=error), timeout=10)
        return info

    async def stage(self, volume: str = "v", context: Mapping[str, str] | None = None, timeout_s: float = 10.0) -> None:
        await self.node(
            "NodeStageVolume",
            timeout_s,
            volume_id=volume,
            staging_target_path=self.staging(volume),
            volume_capability=READER,
            volume_context=ATTRIBUTES.attributes() if context is None else context,
        )

    async def publish(self, pod: str, volume: str = "v", context: Mapping[str, str] | None = None) -> str:
        await self.node(
            "NodePublishVolume",
            volume_id=volume,
            staging_target_path=self.staging(volume),
            target_path=self.target(pod),
            volume_capability=READER,
            volume_context=ATTRIBUTES.attributes() if context is None else context,
        )
        return self.target(pod)

    async def unpublish(self, pod: str, volume: str = "v") -> None:
        await self.node("NodeUnpublishVolume", volume_id=volume, target_path=self.target(pod))

    async def unstage(self, volume: str = "v") -> None:
        await self.node("NodeUnstageVolume", volume_id=volume, staging_target_path=self.staging(volume))


@dataclass
class House:
    """A driver over a fake agent, and a kubelet that calls it."""

    driver: Driver
    agent: FakeAgent
    kubelet: Kubelet
    clock: Clock


def config(folder: Path, **other: Any) -> CsiConfig:
    made = {
        "node": "node-1",
        "kubelet_dir": str(folder / "kubelet"),
        "agent_socket": str(folder / "agent.sock"),
        "state_path": str(folder / "state"),
    }
    return CsiConfig.model_validate(made | other)


@contextlib.asynccontextmanager
async def house(
    folder: Path, agent: FakeAgent | None = None, *, boot_id: str = "boot", wait_s: float = 5.0, **other: Any
) -> AsyncIterator[House]:
    agent, clock, asked = agent or FakeAgent(), Clock(), config(folder, **other)
    limits = Limits(asked.idle_s, wait_s, clock, boot_id)
    async with agent_socket(agent, folder / "agent.sock"), driver(asked, limits) as running:
        yield House(running, agent, Kubelet(folder / "kubelet"), clock)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Its name is short enough for a kubelet's sockets below it; pytest's own is not."""
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir="/var/tmp") as path:
        yield Path(path)


@contextlib.contextmanager
def refused(code: grpc.StatusCode, *words: str) -> Any:
    """The call in this block is refused with a code and a message that holds all words."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        yield
    assert caught.value.code() == code, caught.value.details()
    for word in words:
        assert word in str(caught.value.details())
