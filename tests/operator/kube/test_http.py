"""The real client's edges, against a server that misbehaves on order."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client import Configuration
from tests.rigs import objects

from forebay_operator.kube import http
from forebay_operator.kube.http import HttpKube
from forebay_operator.model import (
    CONFIG_MAP,
    SECRET,
    KubeConflict,
    KubeError,
    KubeExists,
    KubeExpired,
    KubeForbidden,
    KubeInvalid,
    KubeNotFound,
    KubeUnavailable,
    key_of,
)

Serve = Callable[..., Any]
KEY = key_of(objects.config_map("n"))
DEADLINE_S = 20


@pytest.fixture
async def against() -> AsyncIterator[Serve]:
    """Starts a server that answers every request by a handler; gives a client of it."""
    owned: list[Any] = []

    async def start(handler: Any, **options: Any) -> HttpKube:
        runner = web.ServerRunner(web.Server(handler))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        kube = HttpKube(Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}"), **options)
        owned.extend((kube.aclose, runner.cleanup))
        return kube

    yield start
    for end in owned:
        await end()


@pytest.mark.parametrize(
    ("code", "reason", "error"),
    [
        (400, "BadRequest", KubeInvalid),
        (401, "Unauthorized", KubeForbidden),
        (403, "Forbidden", KubeForbidden),
        (404, "NotFound", KubeNotFound),
        (409, "Conflict", KubeConflict),
        (409, "AlreadyExists", KubeExists),
        (410, "Expired", KubeExpired),
        (418, "", KubeError),
        (422, "Invalid", KubeInvalid),
        (429, "TooManyRequests", KubeUnavailable),
        (500, "InternalError", KubeUnavailable),
        (503, "ServiceUnavailable", KubeUnavailable),
        (504, "Timeout", KubeUnavailable),
    ],
)
async def test_refusals_become_ours_with_the_servers_words(against: Serve, code: int, reason: str, error: Any) -> None:
    async def refuse(_: web.BaseRequest) -> web.Response:
        return web.json_response({"kind": "Status", "code": code, "reason": reason, "message": "as told"}, status=code)

    kube = await against(refuse)
    with pytest.raises(KubeError, match="as told") as told:
        await kube.get(KEY)
    assert type(told.value) is error


async def test_a_proxys_page_is_an_error_too(against: Serve) -> None:
    async def page(_: web.BaseRequest) -> web.Response:
        return web.Response(text="<h1>Bad Gateway</h1>", status=502)

    kube = await against(page)
    with pytest.raises(KubeUnavailable, match="Bad Gateway"):
        await kube.get(KEY)


async def test_a_call_ends_within_its_time(against: Serve) -> None:
    never = asyncio.Event()

    async def silent(_: web.BaseRequest) -> web.Response:
        await never.wait()
        return web.Response()

    kube = await against(silent, timeout_s=0.05)
    with pytest.raises(KubeUnavailable, match="TimeoutError"):
        await kube.get(KEY)
    never.set()


async def test_nobody_there_is_unavailable() -> None:
    kube = HttpKube(Configuration(host="http://127.0.0.1:1"))
    with pytest.raises(KubeUnavailable, match="GET /api/v1/namespaces/n/configmaps/settings"):
        await kube.get(KEY)
    await kube.aclose()


async def test_a_list_reads_every_page(against: Serve) -> None:
    async def pages(request: web.BaseRequest) -> web.Response:
        at = int(request.query.get("continue", "0"))
        more = {"continue": str(at + 1)} if at < 2 else {}
        return web.json_response(
            {"metadata": {"resourceVersion": "9", **more}, "items": [{"metadata": {"name": f"o{at}"}}]}
        )

    found = await (await against(pages)).list(SECRET, "n")
    assert [(o["kind"], o["metadata"]["name"]) for o in found.items] == [("Secret", f"o{n}") for n in range(3)]
    assert found.resource_version == "9"


def line(kind: str, version: str) -> bytes:
    return (
        json.dumps({"type": kind, "object": {"metadata": {"name": "x", "resourceVersion": version}}}).encode() + b"\n"
    )


async def test_a_dropped_watch_goes_on_from_the_newest_version(against: Serve) -> None:
    asked: list[str] = []

    async def flaky(request: web.BaseRequest) -> web.StreamResponse:
        asked.append(request.query["resourceVersion"])
        if len(asked) == 2:
            return web.Response(status=503)
        response = web.StreamResponse()
        await response.prepare(request)
        text = {1: line("ADDED", "11") + line("BOOKMARK", "20"), 3: line("MODIFIED", "21")}[len(asked)]
        for start in range(0, len(text), 7):  # in pieces that end anywhere
            await response.write(text[start : start + 7])
        assert request.transport
        request.transport.close()
        return response

    kube = await against(flaky)
    watch = kube.watch(CONFIG_MAP, "10")
    async with asyncio.timeout(DEADLINE_S):
        seen = [(await anext(watch)).type, (await anext(watch)).type]
    await watch.aclose()
    assert (seen, asked) == (["ADDED", "MODIFIED"], ["10", "20", "20"])


@pytest.mark.parametrize("when", ["at once", "on the way"])
async def test_an_expired_watch_says_so(against: Serve, when: str) -> None:
    status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}

    async def old(_: web.BaseRequest) -> web.Response:
        if when == "at once":
            return web.json_response(status, status=410)
        return web.Response(text=json.dumps({"type": "ERROR", "object": status}) + "\n")

    kube = await against(old)
    with pytest.raises(KubeExpired, match="too old"):
        await anext(kube.watch(CONFIG_MAP, "1"))


async def test_a_refused_watch_ends(against: Serve) -> None:
    async def refuse(_: web.BaseRequest) -> web.Response:
        return web.json_response({"message": "no"}, status=403)

    kube = await against(refuse)
    with pytest.raises(KubeForbidden):
        await anext(kube.watch(CONFIG_MAP, "1"))


async def test_a_token_is_sent(against: Serve) -> None:
    async def echo(request: web.BaseRequest) -> web.Response:
        return web.json_response({"said": request.headers.get("authorization")})

    kube = await against(echo)
    kube._configuration.api_key["BearerToken"] = "Bearer abc"  # as load_incluster_config does
    assert await kube.get(KEY) == {"said": "Bearer abc"}


async def test_a_missing_kubeconfig_is_named() -> None:
    with pytest.raises(KubeError, match="/nowhere/config"):
        await http.connect_file("/nowhere/config")


async def test_outside_of_a_pod_there_is_no_service_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(KubeError, match="service account"):
        await http.connect_in_cluster()
