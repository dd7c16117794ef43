"""The `forebay` command: picks the real parts, here and nowhere else. Libraries load when a command needs them."""

import asyncio
import json
import logging
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path

from forebay_operator.cli import program
from forebay_operator.cli.base import Parts, Where
from forebay_operator.kube.base import Kube
from forebay_operator.kube.socket import PATH_LIMIT, SOCKET, SocketKube
from forebay_operator.members.base import Members
from forebay_operator.model import CACHE_CLUSTER, BadManifest, Object, key_of

AGENT_CONFIG = "agent.json"
OPERATOR_URL = "operator.url"
LOG_LIMIT = 8 << 20
PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "taskName"}


def run() -> None:
    """The console script."""
    sys.exit(program.run(sys.argv[1:], real_parts()))


def real_parts() -> Parts:
    return Parts(
        connect=connect,
        members=members,
        up=up,
        mounts_left_out=mounts_left_out,
        environment=os.environ,
        now=time.time,
        sleep=asyncio.sleep,
        stdout=sys.stdout,
        stderr=sys.stderr,
    )


@asynccontextmanager
async def connect(where: Where) -> AsyncIterator[Kube]:
    if not (where.kubeconfig or where.context):
        yield SocketKube(where.state / SOCKET)
        return
    from forebay_operator.kube.http import connect_file  # noqa: PLC0415 - half a second of imports

    kube = await connect_file(where.kubeconfig, where.context)
    try:
        yield kube
    finally:
        await kube.aclose()


def members() -> Members:
    from forebay_operator.members.http import HttpMembers  # noqa: PLC0415 - loads aiohttp

    return HttpMembers()


def up(manifests: Sequence[Object], state: Path) -> AbstractAsyncContextManager[Kube]:
    from forebay_operator.kube.journal import open_journal  # noqa: PLC0415 - only `up` needs these
    from forebay_operator.kube.memory import MemoryKube  # noqa: PLC0415
    from forebay_operator.runtime import up as house  # noqa: PLC0415
    from forebay_operator.runtime.controller import Settings  # noqa: PLC0415

    @asynccontextmanager
    async def open_kube(folder: Path) -> AsyncIterator[Kube]:
        journal = open_journal(folder)
        kube = MemoryKube(durable=journal)
        try:
            yield kube
        finally:
            await kube.aclose()
            journal.close()

    check_sockets(manifests, state)
    log_to(state / "logs" / "operator.log")
    agent = None if mounts_left_out() else agent_pod
    settings = Settings(state, os.environ, time.time, asyncio.sleep)
    return house.up(manifests, settings, house.Parts(open_kube, lambda kube: operate(kube, state), agent))


def check_sockets(manifests: Sequence[Object], state: Path) -> None:
    """Raises BadManifest where a member would have a longer socket than there may be: it would only start again and again."""
    from forebay_operator.desired.workload import NODE_SOCKET  # noqa: PLC0415 - only `up` needs these
    from forebay_operator.runtime.volumes import PodDirectory  # noqa: PLC0415

    for key in (key for key in map(key_of, manifests) if key.kind == CACHE_CLUSTER):
        pod = PodDirectory(state / "pods" / f"{key.namespace}.{key.name}-0", state)
        path = f"{pod.root}{NODE_SOCKET}"
        if len(os.fsencode(path)) > PATH_LIMIT:
            raise BadManifest(f"{path} is longer than a unix socket may be ({PATH_LIMIT}): choose a shorter --state")


async def operate(kube: Kube, state: Path) -> None:
    """Reconciles until cancelled; meanwhile OPERATOR_URL in `state` says where it answers probes and Prometheus."""
    from importlib.metadata import version  # noqa: PLC0415 - only `up` needs these

    from forebay_cache.contract import metrics  # noqa: PLC0415
    from forebay_cache.telemetry import Telemetry  # noqa: PLC0415
    from forebay_operator.health import Health  # noqa: PLC0415
    from forebay_operator.reconcile.loop import Clocks, Operator  # noqa: PLC0415
    from forebay_operator.reconcile.tally import Tally  # noqa: PLC0415

    shown, found, build = Telemetry(), members(), (version("forebay"), "operator")
    shown.show(metrics.BUILD, lambda: {build: 1.0})
    clocks = Clocks(time.time, time.monotonic, random.random)
    operator = Operator(kube, found, clocks, Tally(shown, time.monotonic))
    health, told = Health(operator.why_not_alive, operator.why_not_ready, shown.exposition), state / OPERATOR_URL
    try:
        async with health.listen("127.0.0.1", 0) as port:
            told.write_text(f"http://127.0.0.1:{port}\n")
            await operator.run()
    finally:
        told.unlink(missing_ok=True)
        await found.aclose()


def log_to(path: Path) -> None:
    """What operator and runtime log goes beside the logs of the pods: a terminal is for progress."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handler = RotatingFileHandler(path, maxBytes=LOG_LIMIT, backupCount=1)
    handler.setFormatter(KeyValues())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)


class KeyValues(logging.Formatter):
    """One event, one line: what happened, then key=value."""

    def format(self, record: logging.LogRecord) -> str:
        extra = {name: value for name, value in vars(record).items() if name not in PLAIN}
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        words = [stamp, record.levelname.lower(), record.name, record.getMessage()]
        trace = [self.formatException(record.exc_info)] if record.exc_info else []
        return " ".join([*words, *(f"{name}={value!r}" for name, value in extra.items()), *trace])


def mounts_left_out() -> str:
    """Why this machine has no mounts; the agent itself says what more the kernel lacks."""
    if os.geteuid() != 0:
        return "they need root; reads over S3 work (`forebay ls`, `cat`, `get`, any S3 client)"
    missing = [path for path in ("/dev/fuse", "/dev/loop-control") if not os.path.exists(path)]
    return f"this machine has no {' and no '.join(missing)}; reads over S3 work" if missing else ""


def agent_pod(state: Path) -> Object:
    """The agent as a pod whose root is the machine's, for it mounts there."""
    config = state / AGENT_CONFIG
    config.write_text(json.dumps({"socket": str(state / "agent.sock"), "state_path": str(state / "agent-mounts")}))
    command = ["python", "-m", "forebay_cache.main", "agent", "--config", str(config), "--root", "/"]
    container = {"name": "agent", "command": command, "env": [{"name": "FOREBAY_ROOT", "value": "/"}]}
    return {
        "metadata": {"name": "agent", "namespace": "forebay", "uid": "agent"},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 20},
    }
