"""The agent of a node: contract/agent.py over a unix socket that only root may open. Mounts end with it.

`run_agent` is what main starts; cancelled, it unmounts everything, answers every READ that waits, and returns.
"""

import asyncio
import fcntl
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TypeVar

from aiohttp import web

from forebay_cache.contract.admin import AdminError
from forebay_cache.contract.agent import AgentConfig, Mount, MountList, MountRequest, ResolveRequest, UnmountRequest
from forebay_cache.contract.config import Document
from forebay_cache.model import errors
from forebay_cache.model.ids import CommitId
from forebay_cache.mount.mounts import Mounts, Wanted
from forebay_cache.mount.records import Record, Records
from forebay_cache.mount.session import Serving
from forebay_cache.mount.shown import Shown
from forebay_cache.mount.sockets import Sockets
from forebay_cache.mount.support import missing_part
from forebay_cache.telemetry import CONTENT_TYPE, Telemetry

log = logging.getLogger("forebay.agent")
BODY_LIMIT = 64 << 10
END_GRACE_S = 5.0
_COMMIT_DIGITS = frozenset("0123456789abcdef")
_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (errors.BadInput, 400),
    (errors.NotFound, 404),
    (errors.TargetInUse, 409),
    (errors.MountUnsupported, 501),
    (errors.MemberUnreachable, 503),
    (errors.DeadlineExceeded, 503),
    (errors.ForebayError, 500),
)
D = TypeVar("D", bound=Document)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def run_agent(config: AgentConfig) -> None:
    """Serves until cancelled. Raises ConfigError (another agent has this state, the socket cannot be made)."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(agent(config))
        log.info("serving", extra={"socket": config.socket})
        await asyncio.Event().wait()


@asynccontextmanager
async def agent(config: AgentConfig) -> AsyncIterator[Mounts]:
    """An agent that serves its API meanwhile."""
    async with AsyncExitStack() as stack:
        stack.callback(os.close, _claim(config.state_path))
        mounts = Mounts(Records(os.path.join(config.state_path, "mounts")), _serving(config), config.read_ahead_kb)
        await mounts.clean()
        stack.push_async_callback(mounts.close)
        api = AgentApi(mounts, Sockets(config.member_sockets, config.deadline_s), Shown(Telemetry(), mounts))
        await _listen(_application(api), config.socket, stack)
        yield mounts


class AgentApi:
    """One handler for each path of the contract."""

    def __init__(self, mounts: Mounts, sockets: Sockets, shown: Shown) -> None:
        self._mounts = mounts
        self._sockets = sockets
        self._shown = shown

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/resolve", self.resolve),
            web.post("/v1/mounts", self.mount),
            web.get("/v1/mounts", self.list_mounts),
            web.post("/v1/unmount", self.unmount),
            web.get("/healthz", self.health),
            web.get("/readyz", self.ready),
            web.get("/metrics", self.metrics),
        ]

    async def resolve(self, request: web.Request) -> web.Response:
        asked = await _body(request, ResolveRequest)
        if asked.commit:
            _check_commit(asked.commit)
        return _document(await asyncio.to_thread(self._sockets.resolve, asked))

    async def mount(self, request: web.Request) -> web.Response:
        asked = await _body(request, MountRequest)
        commit = _check_commit(asked.commit)
        wanted = Wanted(
            asked.cluster_uid, asked.dataset_uid, commit, asked.target, asked.member_socket, for_pods=asked.for_pods
        )
        return _document(_shown(await self._mounts.mount(wanted)))

    async def list_mounts(self, request: web.Request) -> web.Response:
        return _document(MountList(mounts=tuple(map(_shown, self._mounts.records))))

    async def unmount(self, request: web.Request) -> web.Response:
        asked = await _body(request, UnmountRequest)
        if asked.for_pods:
            await self._mounts.unmount_for_pods(asked.target, remove=asked.remove)
        else:
            await self._mounts.unmount(asked.target)
        return web.Response(status=204)

    async def health(self, request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def ready(self, request: web.Request) -> web.Response:
        """It listens only after it has cleaned up after the agent before it, so what can be missing is the kernel's."""
        reason = missing_part()
        return web.Response(status=503 if reason else 200, text=f"{reason or 'ok'}\n")

    async def metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=self._shown.exposition(), headers={"Content-Type": CONTENT_TYPE})


def _serving(config: AgentConfig) -> Callable[[str], Serving]:
    return lambda path: Serving(path, config.workers, config.deadline_s, config.held_descriptors)


def _check_commit(commit: str) -> CommitId:
    if len(commit) != 64 or not _COMMIT_DIGITS.issuperset(commit):
        raise errors.BadInput(f"commit {commit!r} must have 64 hexadecimal digits")
    return CommitId(commit)


def _shown(record: Record) -> Mount:
    return Mount(
        cluster_uid=record.cluster_uid, dataset_uid=record.dataset_uid, commit=record.commit, target=record.target
    )


def _claim(state_path: str) -> int:
    """A descriptor whose lock says that this agent alone uses the state directory. Raises ConfigError."""
    try:
        os.makedirs(state_path, mode=0o700, exist_ok=True)
        fd = os.open(os.path.join(state_path, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise errors.ConfigError(f"state_path: {state_path}: {exc.strerror}") from exc
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        os.close(fd)
        raise errors.ConfigError(f"state_path: another agent runs with {state_path}") from exc
    return fd


async def _listen(application: web.Application, path: str, stack: AsyncExitStack) -> None:
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=END_GRACE_S)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    listener = _bind(path)
    stack.callback(_unlink, path)
    await web.SockSite(runner, listener).start()


def _bind(path: str) -> socket.socket:
    """Raises ConfigError."""
    _unlink(path)  # of an agent that was killed: our lock says that none runs
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        os.fchmod(listener.fileno(), 0o600)  # before it has a name, so that nobody slips in
        listener.bind(path)
    except OSError as exc:
        listener.close()
        raise errors.ConfigError(f"socket: {path}: {exc.strerror or exc}") from exc
    return listener


def _unlink(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)


def _application(api: AgentApi) -> web.Application:
    @web.middleware
    async def door(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as exc:
            return _error(exc.status, exc.reason.replace(" ", ""), f"{request.method} {request.path}: {exc.reason}")
        except errors.ForebayError as exc:
            status = next(status for kind, status in _STATUS if isinstance(exc, kind))
            log.warning("refused", extra={"path": request.path, "reason": type(exc).__name__, "detail": str(exc)})
            return _error(status, type(exc).__name__, str(exc))
        except Exception:
            log.exception("agent request failed", extra={"path": request.path})
            return _error(500, "InternalError", "an internal error occurred; the agent's log says more")

    application = web.Application(client_max_size=BODY_LIMIT, middlewares=[door])
    application.add_routes(api.routes())
    return application


async def _body(request: web.Request, model: type[D]) -> D:
    """Raises BadInput that names the field."""
    try:
        return model.model_validate_json(await request.read())
    except ValueError as exc:  # pydantic's ValidationError is one
        raise errors.BadInput(f"{request.path}: {exc}") from exc


def _document(document: Document) -> web.Response:
    return web.Response(body=document.model_dump_json().encode(), content_type="application/json")


def _error(status: int, reason: str, message: str) -> web.Response:
    body = AdminError(reason=reason, message=message).model_dump_json().encode()
    return web.Response(status=status, body=body, content_type="application/json")
