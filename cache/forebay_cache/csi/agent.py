"""The agent as a client: contract/agent.py over its unix socket."""

from collections.abc import Sequence
from typing import Self, TypeVar

import aiohttp

from forebay_cache.contract.admin import AdminError
from forebay_cache.contract.agent import Mount, MountList, MountRequest, ResolvedCommit, ResolveRequest, UnmountRequest
from forebay_cache.contract.config import Document
from forebay_cache.model import errors

D = TypeVar("D", bound=Document)
_ERRORS: dict[str, type[errors.ForebayError]] = {
    kind.__name__: kind
    for kind in (
        errors.BadInput,
        errors.CatalogCorrupt,
        errors.DeadlineExceeded,
        errors.MemberUnreachable,
        errors.MountFailed,
        errors.MountUnsupported,
        errors.NotFound,
        errors.TargetGone,
        errors.TargetInUse,
    )
}


class HttpAgent:
    """Use it as a context manager. `timeout_s`: of one call; the agent ends what it began all the same."""

    def __init__(self, socket: str, timeout_s: float) -> None:
        self._socket = socket
        self._timeout_s = timeout_s
        # a connection for each call: one that was kept would fail the first call after the agent's restart
        connector = aiohttp.UnixConnector(socket, limit=64, force_close=True)
        self._http = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=timeout_s))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def resolve(self, asked: ResolveRequest) -> ResolvedCommit:
        return _document(ResolvedCommit, await self._ask("POST", "/v1/resolve", asked))

    async def mount(self, asked: MountRequest) -> Mount:
        return _document(Mount, await self._ask("POST", "/v1/mounts", asked))

    async def unmount(self, asked: UnmountRequest) -> None:
        await self._ask("POST", "/v1/unmount", asked)

    async def mounts(self) -> Sequence[Mount]:
        return _document(MountList, await self._ask("GET", "/v1/mounts")).mounts

    async def why_not_ready(self) -> str:
        try:
            status, said = await self._call("GET", "/readyz", None)
        except errors.ForebayError as exc:
            return str(exc)
        return "" if status == 200 else said.decode(errors="replace").strip()

    async def _ask(self, method: str, path: str, body: Document | None = None) -> bytes:
        status, said = await self._call(method, path, body)
        if status < 400:
            return said
        try:
            error = AdminError.model_validate_json(said)
        except ValueError as exc:
            raise errors.AgentUnreachable(f"the agent at {self._socket} answers {path} with HTTP {status}") from exc
        raise _ERRORS.get(error.reason, errors.ForebayError)(error.message)

    async def _call(self, method: str, path: str, body: Document | None) -> tuple[int, bytes]:
        data = body.model_dump_json() if body else None
        headers = {"content-type": "application/json"}
        try:
            async with self._http.request(method, f"http://agent{path}", data=data, headers=headers) as answer:
                return answer.status, await answer.read()
        except TimeoutError as exc:
            said = f"the agent at {self._socket} did not answer {path} within {self._timeout_s:g} s"
            raise errors.DeadlineExceeded(said) from exc
        except (aiohttp.ClientError, OSError) as exc:
            why = getattr(exc, "strerror", None) or exc  # aiohttp's own text of it tells of TLS
            said = f"the agent at {self._socket} does not answer: {why}; is its pod running on this node?"
            raise errors.AgentUnreachable(said) from exc


def _document(model: type[D], said: bytes) -> D:
    """Raises AgentUnreachable where the agent speaks another language."""
    try:
        return model.model_validate_json(said)
    except ValueError as exc:
        raise errors.AgentUnreachable(f"the agent answers what is no {model.__name__}: {exc}") from exc
