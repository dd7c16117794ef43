"""The agent API as a client: contract/agent.py over its unix socket."""

from pathlib import Path
from typing import Self

import aiohttp
from pydantic import ValidationError

from forebay_cache.contract.admin import AdminError
from forebay_cache.contract.agent import Mount, MountRequest, UnmountRequest
from forebay_cache.contract.config import Document
from forebay_operator.cli.base import Parts, Where
from forebay_operator.model import KubeNotFound, MemberError, MemberUnavailable, OperatorError, Unsupported
from forebay_operator.runtime.up import AGENT_SOCKET

DEADLINE_S = 60.0
NODE_SOCKET = Path("/run/forebay/agent.sock")
"""Where the agent of a Kubernetes node listens."""
ERRORS: dict[int, type[OperatorError]] = {404: KubeNotFound, 501: Unsupported, 503: MemberUnavailable}


def agent_socket(where: Where, parts: Parts) -> Path:
    """Raises Unsupported where no agent can run here, MemberUnavailable where none does."""
    path = NODE_SOCKET if where.kubeconfig or where.context else where.state / AGENT_SOCKET
    if not path.exists():
        if why := parts.mounts_left_out():
            raise Unsupported(f"no mounts here: {why}")
        raise MemberUnavailable(f"no agent at {path}: is `forebay up` running, as root?")
    return path


class Agent:
    """Use it as a context manager."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        timeout = aiohttp.ClientTimeout(total=DEADLINE_S)
        self._http = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket)), timeout=timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def mount(self, request: MountRequest) -> Mount:
        return Mount.model_validate_json(await self._post("/v1/mounts", request))

    async def unmount(self, target: str) -> None:
        await self._post("/v1/unmount", UnmountRequest(target=target))

    async def _post(self, path: str, body: Document) -> bytes:
        headers = {"content-type": "application/json"}
        try:
            async with self._http.post(f"http://agent{path}", data=body.model_dump_json(), headers=headers) as answer:
                said = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            raise MemberUnavailable(f"the agent at {self._socket} does not answer: {str(exc) or 'in time'}") from exc
        if answer.status >= 400:
            raise ERRORS.get(answer.status, MemberError)(message(answer.status, said))
        return said


def message(status: int, said: bytes) -> str:
    try:
        return AdminError.model_validate_json(said).message
    except ValidationError:
        return f"the agent answered HTTP {status}"
