"""Members over HTTP with mutual TLS: contract/admin.py as a client."""

import asyncio
import ssl
import tempfile
from typing import Any, TypeVar

import aiohttp
from pydantic import ValidationError

from forebay_cache.contract.admin import (
    AdminError,
    CommitList,
    DiffReport,
    MemberReport,
    SyncReport,
    SyncRequest,
)
from forebay_cache.contract.config import ClusterState, Document
from forebay_cache.contract.membership import Membership
from forebay_cache.contract.prefetch import PrefetchReport, PrefetchRequest
from forebay_operator.members.base import SERVER_NAME, TlsFiles
from forebay_operator.model import MemberError, MemberUnavailable

D = TypeVar("D", bound=Document)
DEADLINE_S = 5.0
ANSWER_LIMIT = 16 << 20
"""Longest answer: a report of some 100,000 Datasets."""


class HttpMember:
    """Implements Member."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def put_state(self, state: ClusterState) -> None:
        await self._call("PUT", "/v1/state", state)

    async def report(self) -> MemberReport:
        return _parsed(MemberReport, await self._call("GET", "/v1/report"))

    async def put_membership(self, membership: Membership) -> None:
        await self._call("PUT", "/v1/membership", membership)

    async def membership(self) -> Membership | None:
        text = await self._call("GET", "/v1/membership", missing_ok=True)
        return _parsed(Membership, text) if text else None

    async def start_sync(self, dataset_uid: str, request: SyncRequest) -> SyncReport:
        return _parsed(SyncReport, await self._call("POST", f"/v1/datasets/{dataset_uid}/sync", request))

    async def sync(self, dataset_uid: str) -> SyncReport | None:
        text = await self._call("GET", f"/v1/datasets/{dataset_uid}/sync", missing_ok=True)
        return _parsed(SyncReport, text) if text else None

    async def start_prefetch(self, dataset_uid: str, request: PrefetchRequest) -> PrefetchReport:
        return _parsed(PrefetchReport, await self._call("POST", f"/v1/datasets/{dataset_uid}/prefetch", request))

    async def prefetch(self, dataset_uid: str) -> PrefetchReport | None:
        text = await self._call("GET", f"/v1/datasets/{dataset_uid}/prefetch", missing_ok=True)
        return _parsed(PrefetchReport, text) if text else None

    async def stop_prefetch(self, dataset_uid: str) -> PrefetchReport:
        return _parsed(PrefetchReport, await self._call("DELETE", f"/v1/datasets/{dataset_uid}/prefetch"))

    async def commits(self, dataset_uid: str) -> CommitList:
        return _parsed(CommitList, await self._call("GET", f"/v1/datasets/{dataset_uid}/commits"))

    async def diff(self, dataset_uid: str, old: str, new: str) -> DiffReport:
        path = f"/v1/datasets/{dataset_uid}/diff?old={old}&new={new}"
        return _parsed(DiffReport, await self._call("GET", path))

    async def _call(self, method: str, path: str, body: Document | None = None, *, missing_ok: bool = False) -> str:
        data = body.model_dump_json().encode() if body else None
        headers = {"content-type": "application/json"} if data else {}
        try:
            async with self._session.request(
                method,
                self._url + path,
                data=data,
                headers=headers,
                server_hostname=SERVER_NAME,
                allow_redirects=False,
            ) as answer:
                text = await self._text(answer)
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            reason = "no answer in time" if isinstance(exc, TimeoutError) else str(exc)
            raise MemberUnavailable(f"member at {self._url}: {reason}") from exc
        if answer.status == 404 and missing_ok:
            return ""
        if answer.status >= 300:
            raise self._refusal(answer.status, text)
        return text

    async def _text(self, answer: aiohttp.ClientResponse) -> str:
        body = bytearray()
        async for piece in answer.content.iter_chunked(1 << 16):
            body += piece
            if len(body) > ANSWER_LIMIT:
                raise MemberError(f"member at {self._url}: its answer is longer than {ANSWER_LIMIT} bytes")
        return body.decode("utf-8", "replace")

    def _refusal(self, status: int, text: str) -> MemberError:
        try:
            message = AdminError.model_validate_json(text).message
        except ValidationError:
            message = f"HTTP {status}"
        kind = MemberUnavailable if status >= 500 else MemberError
        return kind(f"member at {self._url}: {message}")


class HttpMembers:
    """Implements Members: a session for each set of certificates, closed by `aclose`. `deadline_s` is each call's."""

    def __init__(self, deadline_s: float = DEADLINE_S) -> None:
        self._deadline_s = deadline_s
        self._sessions: dict[bytes, aiohttp.ClientSession] = {}

    def at(self, address: str, port: int, tls: TlsFiles) -> HttpMember:
        session = self._sessions.get(tls.certificate)
        if session is None:
            timeout = aiohttp.ClientTimeout(total=self._deadline_s)
            connector = aiohttp.TCPConnector(ssl=_context(tls), limit_per_host=4)
            session = self._sessions[tls.certificate] = aiohttp.ClientSession(timeout=timeout, connector=connector)
        host = f"[{address}]" if ":" in address else address
        return HttpMember(session, f"https://{host}:{port}")

    async def aclose(self) -> None:
        await asyncio.gather(*(session.close() for session in self._sessions.values()))
        self._sessions.clear()


def _context(tls: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(cadata=tls.ca.decode("ascii"))
        with tempfile.NamedTemporaryFile("wb") as file:  # ssl takes a certificate from a file only; mode 0600
            file.write(tls.certificate + tls.key)
            file.flush()
            context.load_cert_chain(file.name)
    except (ssl.SSLError, ValueError) as exc:
        message = "the operator's certificate for this cluster cannot be read: delete its Secret, and it is made anew"
        raise MemberError(message) from exc
    return context


def _parsed(model: type[D], text: Any) -> D:
    try:
        return model.model_validate_json(text)
    except ValidationError as exc:
        raise MemberError(f"a member's answer is no {model.__name__}: {exc.error_count()} fields are wrong") from exc
