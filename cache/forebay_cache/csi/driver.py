"""The CSI node of a machine, whole: its two sockets, its memory, and the task that looks after mounts.

`run_driver` is what main starts. It ends without unmounting anything: pods read on while it is replaced.
"""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

import grpc

from forebay_cache.contract import metrics
from forebay_cache.contract.volume import DRIVER, CsiConfig
from forebay_cache.csi import identity, node, registration
from forebay_cache.csi.agent import HttpAgent
from forebay_cache.csi.base import Limits
from forebay_cache.csi.calls import Door
from forebay_cache.csi.healing import Healing
from forebay_cache.csi.health import Health
from forebay_cache.csi.records import Records
from forebay_cache.csi.volumes import Volumes
from forebay_cache.model.errors import ConfigError
from forebay_cache.telemetry import Telemetry

log = logging.getLogger("forebay.csi")
CALLS_LIMIT = 64
"""Calls under way; a kubelet has some tens at most."""
PATH_LIMIT = 107
"""Bytes of a unix socket's path."""
END_GRACE_S = 2.0


@dataclass(frozen=True, slots=True)
class Paths:
    """The driver's sockets, below a kubelet's directory."""

    kubelet_dir: str

    @property
    def driver(self) -> str:
        return os.path.join(self.kubelet_dir, "plugins", DRIVER, "csi.sock")

    @property
    def registration(self) -> str:
        return os.path.join(self.kubelet_dir, "plugins_registry", f"{DRIVER}-reg.sock")


@dataclass(frozen=True, slots=True)
class Driver:
    """A running one. `health_port`: where it really listens."""

    volumes: Volumes
    healing: Healing
    registration: registration.Registration
    health_port: int | None


async def run_driver(config: CsiConfig, limits: Limits) -> None:
    """Serves until cancelled. Raises ConfigError."""
    async with driver(config, limits) as running:
        log.info("serving", extra={"socket": Paths(config.kubelet_dir).driver, "node": config.node})
        await running.healing.run()


@asynccontextmanager
async def driver(config: CsiConfig, limits: Limits) -> AsyncIterator[Driver]:
    """A driver that serves meanwhile; who enters it runs the healing."""
    paths, telemetry = Paths(config.kubelet_dir), Telemetry()
    async with AsyncExitStack() as stack:
        records = Records(config.state_path)
        stack.callback(records.close)
        agent = await stack.enter_async_context(HttpAgent(config.agent_socket, config.deadline_s))
        volumes = Volumes(records, agent, limits)
        stack.push_async_callback(volumes.close)
        telemetry.show(metrics.CSI_VOLUMES, lambda: {(): sum(bool(volume.paths) for volume in records.all())})
        door, registrar = Door(telemetry, config.deadline_s), registration.Registration(paths.driver)
        services = (
            door.service(identity.SERVICE, identity.Identity(agent).methods()),
            door.service(node.SERVICE, node.Node(config.node, config.kubelet_dir, volumes).methods()),
        )
        await _listen(paths.driver, services, stack)
        port = None
        if config.health_port is not None:
            port = await Health(registrar, agent, telemetry).listen(config.host, config.health_port, stack)
        # last, because the kubelet calls the driver as soon as it sees this one; and so it is the first to go
        await _listen(paths.registration, (door.service(registration.SERVICE, registrar.methods()),), stack)
        yield Driver(volumes, Healing(volumes, config.heal_s), registrar, port)


async def _listen(path: str, services: tuple[grpc.GenericRpcHandler, ...], stack: AsyncExitStack) -> None:
    """Raises ConfigError."""
    if len(os.fsencode(path)) > PATH_LIMIT:
        raise ConfigError(f"kubelet_dir: {path} has more than the {PATH_LIMIT} bytes a socket's path may have")
    server = grpc.aio.server(maximum_concurrent_rpcs=CALLS_LIMIT)
    server.add_generic_rpc_handlers(services)
    try:
        os.makedirs(os.path.dirname(path), mode=0o750, exist_ok=True)
        _unlink(path)  # of a driver that was killed: our records' lock says that none runs
        server.add_insecure_port(f"unix:{path}")
        os.chmod(path, 0o600)
    except (OSError, RuntimeError) as exc:
        raise ConfigError(f"kubelet_dir: {path}: {exc}") from exc
    await server.start()
    stack.callback(_unlink, path)
    stack.push_async_callback(server.stop, END_GRACE_S)


def _unlink(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)
