"""The real API server: `kubernetes.aio`'s configuration, authentication and connections, and plain JSON on top.

Its typed and dynamic clients are left out: they cost memory and time for models that nothing here looks at. (A get takes
0.67 ms of CPU in a process of 73 MiB; the dynamic client 1.7 ms and 171 MiB; aiohttp alone 0.64 ms.) Every call ends within
`timeout_s`; a watch has no end, but a silent connection does.
"""

import asyncio
import json
import random
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import Configuration
from kubernetes.aio.client.rest import RESTClientObject

from forebay_operator.kube.base import Event, Listing
from forebay_operator.model import (
    FIELD_MANAGER,
    Key,
    Kind,
    KubeConflict,
    KubeError,
    KubeExists,
    KubeExpired,
    KubeForbidden,
    KubeInvalid,
    KubeNotFound,
    KubeUnavailable,
    Object,
    key_of,
)

REFUSALS: Mapping[int, type[KubeError]] = {
    400: KubeInvalid,
    401: KubeForbidden,
    403: KubeForbidden,
    404: KubeNotFound,
    409: KubeConflict,
    410: KubeExpired,
    413: KubeInvalid,
    415: KubeInvalid,
    422: KubeInvalid,
    429: KubeUnavailable,
}
DISGUISED = ("failed to create typed patch object", "resourceVersion should not be set")
"""What begins so is the caller's mistake, though the server answers 500."""
REASONS: Mapping[str, type[KubeError]] = {"AlreadyExists": KubeExists, "Expired": KubeExpired, "Gone": KubeExpired}
NO_ANSWER = (aiohttp.ClientError, TimeoutError, OSError)
PAGE = 500
LINE_LIMIT = 16 << 20
WATCH_S = 290
"""A watch is asked for again after this long, so that load spreads over API servers."""
WATCH: Mapping[str, str] = {"watch": "1", "allowWatchBookmarks": "true", "timeoutSeconds": str(WATCH_S)}
BEGIN = "BEGIN"
SILENCE_S = 90
"""The server sends a bookmark each minute; a connection silent for longer is dead."""
LONGEST_PAUSE_S = 10.0
CONNECTIONS = 64


async def connect_file(path: str | None = None, context: str | None = None) -> "HttpKube":
    """By a kubeconfig file; None: $KUBECONFIG or ~/.kube/config. Raises KubeError where it is missing or wrong."""
    configuration = Configuration()
    try:
        await config.load_kube_config(path, context, configuration, persist_config=False)  # type: ignore[no-untyped-call] # has no types
    except (config.ConfigException, OSError) as exc:
        raise KubeError(f"kubeconfig {path or config.KUBE_CONFIG_DEFAULT_LOCATION}: {exc}") from exc
    return HttpKube(configuration)


async def connect_in_cluster() -> "HttpKube":
    """By the service account of the pod this runs in. Raises KubeError outside of one."""
    configuration = Configuration()
    try:
        config.load_incluster_config(configuration)  # type: ignore[no-untyped-call] # has no types
    except config.ConfigException as exc:
        raise KubeError(f"not in a pod with a service account: {exc}") from exc
    return HttpKube(configuration)


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; `query` values are text."""

    method: str
    path: str
    query: Mapping[str, str]
    body: object = None
    content_type: str = "application/json"


class HttpKube:
    """Owns its connections; `aclose` ends calls and watches that are under way with KubeUnavailable."""

    def __init__(self, configuration: Configuration, *, timeout_s: float = 30.0) -> None:
        configuration.connection_pool_maxsize = CONNECTIONS
        self._configuration = configuration
        self._rest = RESTClientObject(configuration)
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._closed = False

    async def get(self, key: Key, *, live: bool = False) -> Object:
        return await self._call(Request("GET", path_of(key.kind, key.namespace, key.name), {}))

    async def list(self, kind: Kind, namespace: str | None = None, labels: Mapping[str, str] | None = None) -> Listing:
        query = {"limit": str(PAGE), **selector(labels)}
        items: list[Object] = []
        while True:
            page = await self._call(Request("GET", path_of(kind, namespace), query))
            # items of Kubernetes' own kinds come without their kind
            items += [{"apiVersion": kind.api_version, "kind": kind.kind, **item} for item in page["items"]]
            more = page["metadata"].get("continue")
            if not more:
                return Listing(items, page["metadata"]["resourceVersion"])
            query = {**query, "continue": more}

    async def watch(
        self,
        kind: Kind,
        resource_version: str,
        namespace: str | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        bookmarks: bool = False,
    ) -> AsyncIterator[Event]:
        seen, failures = resource_version, 0
        while not self._closed:
            query = {**WATCH, **selector(labels), "resourceVersion": seen}
            with suppress(KubeUnavailable):
                async with aclosing(self._events(Request("GET", path_of(kind, namespace), query))) as events:
                    async for event in events:
                        seen = event["object"]["metadata"]["resourceVersion"]
                        failures = failures if event["type"] == BEGIN else 0
                        mark = event["type"] in (BEGIN, "BOOKMARK")
                        if bookmarks or not mark:
                            yield Event("BOOKMARK" if mark else event["type"], event["object"])
            failures += 1
            await asyncio.sleep(pause_s(failures))

    async def apply(self, body: Object, *, manager: str, force: bool = False) -> Object:
        return await self._apply("", body, manager, force)

    async def apply_status(self, body: Object, *, manager: str, force: bool = False) -> Object:
        metadata = {name: body["metadata"][name] for name in ("name", "resourceVersion") if name in body["metadata"]}
        want = {**{name: body[name] for name in ("apiVersion", "kind", "status") if name in body}, "metadata": metadata}
        want["metadata"]["namespace"] = key_of(body).namespace
        return await self._apply("/status", want, manager, force)

    async def create(self, body: Object) -> Object:
        key = key_of(body)
        query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
        return await self._call(Request("POST", path_of(key.kind, key.namespace), query, body))

    async def delete(self, key: Key, *, uid: str | None = None, resource_version: str | None = None) -> None:
        said = {"uid": uid, "resourceVersion": resource_version}
        preconditions = {name: value for name, value in said.items() if value is not None}
        options = {"propagationPolicy": "Background", "preconditions": preconditions}
        await self._call(Request("DELETE", path_of(key.kind, key.namespace, key.name), {}, options))

    async def aclose(self) -> None:
        self._closed = True
        await self._rest.close()

    async def _apply(self, subresource: str, body: Object, manager: str, force: bool) -> Object:  # noqa: FBT001 - the protocol's word
        key = key_of(body)
        query = {"fieldManager": manager, "fieldValidation": "Strict", "force": "true" if force else "false"}
        path = path_of(key.kind, key.namespace, key.name) + subresource
        return await self._call(Request("PATCH", path, query, body, "application/apply-patch+yaml"))

    async def _call(self, request: Request) -> dict[str, Any]:
        try:
            async with asyncio.timeout(self._timeout.total):
                response = await self._send(request, self._timeout)
                async with response:
                    text = await response.read()
        except NO_ANSWER as exc:
            raise unanswered(request, exc) from exc
        return answer(response.status, text)

    async def _send(self, request: Request, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        if self._closed:
            raise KubeUnavailable("closed")
        headers = {"Content-Type": request.content_type, "Accept": "application/json", "User-Agent": "forebay"}
        settings: Mapping[str, Any] = await self._configuration.auth_settings()
        headers |= {setting["key"]: setting["value"] for setting in settings.values()}
        url = self._configuration.host + request.path + ("?" + urlencode(request.query) if request.query else "")
        try:
            reply = await self._rest.request(  # type: ignore[no-untyped-call] # has no types
                request.method, url, headers, request.body, None, timeout
            )
        except (AssertionError, RuntimeError) as exc:
            if self._closed:  # aiohttp's way to say that its session went away meanwhile
                raise KubeUnavailable("closed") from exc
            raise
        response: aiohttp.ClientResponse = reply.response
        return response

    async def _events(self, request: Request) -> AsyncGenerator[dict[str, Any], None]:
        """What one connection brings, bookmarks too, after a BEGIN; trouble on the way is KubeUnavailable."""
        try:
            response = await self._send(
                request, aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=SILENCE_S)
            )
            async with response, aclosing(lines_of(response)) as lines:
                if response.status != 200:
                    answer(response.status, await response.read())
                yield {"type": BEGIN, "object": {"metadata": {"resourceVersion": request.query["resourceVersion"]}}}
                async for line in lines:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise refusal(event["object"])
                    yield event
        except NO_ANSWER as exc:
            raise unanswered(request, exc) from exc


async def lines_of(response: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
    """Lines as they come. Raises KubeUnavailable for one over LINE_LIMIT."""
    rest = b""
    async for piece in response.content.iter_any():
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line
        if len(rest) > LINE_LIMIT:
            raise KubeUnavailable(f"a watch event is over {LINE_LIMIT} bytes")


def path_of(kind: Kind, namespace: str | None, name: str = "") -> str:
    root = f"/apis/{kind.api_version}" if "/" in kind.api_version else f"/api/{kind.api_version}"
    inside = f"/namespaces/{quote(namespace, safe='')}" if kind.namespaced and namespace is not None else ""
    return f"{root}{inside}/{kind.plural}" + (f"/{quote(name, safe='')}" if name else "")


def selector(labels: Mapping[str, str] | None) -> dict[str, str]:
    """As a query."""
    return {"labelSelector": ",".join(f"{name}={value}" for name, value in labels.items())} if labels else {}


def answer(status: int, text: bytes) -> dict[str, Any]:
    """The document of an answer. Raises what REFUSALS and REASONS say of its Status."""
    document: dict[str, Any] = {}
    with suppress(ValueError):
        document = json.loads(text)
    if status < 300:
        return document
    raise refusal({"code": status, "message": text[:500].decode(errors="replace"), **document})


def refusal(status: Mapping[str, Any]) -> KubeError:
    """A Status document as our error."""
    code, message = int(status.get("code", 500)), str(status.get("message") or "")
    if message.startswith(DISGUISED):
        return KubeInvalid(message)
    kind = REASONS.get(status.get("reason", "")) or REFUSALS.get(code)
    return (kind or (KubeUnavailable if code >= 500 else KubeError))(message or f"HTTP {code}")


def unanswered(request: Request, exc: BaseException) -> KubeUnavailable:
    return KubeUnavailable(f"{request.method} {request.path}: {type(exc).__name__} {exc}".rstrip())


def pause_s(failures: int) -> float:
    """Doubling, with jitter: many watches must not come back at once."""
    return min(LONGEST_PAUSE_S, 0.1 * 2.0 ** min(failures, 10)) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
