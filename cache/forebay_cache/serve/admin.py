"""The admin API of a member (contract/admin.py) over aiohttp, with mutual TLS.

A client certificate of the cluster's CA is required on everything but the three plain-text paths, which probes and
Prometheus read; so TLS asks for one, and the door below checks that it came.
"""

import asyncio
import logging
import os
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web
from pydantic import ValidationError

from forebay_cache.contract.admin import AdminError, SyncRequest
from forebay_cache.contract.config import ClusterState, Document
from forebay_cache.contract.membership import Membership
from forebay_cache.contract.prefetch import PrefetchRequest
from forebay_cache.model import errors
from forebay_cache.serve.base import AdminBackend
from forebay_cache.telemetry import CONTENT_TYPE

log = logging.getLogger("forebay.admin")
OPEN_PATHS = frozenset(("/healthz", "/readyz", "/metrics"))
BODY_LIMIT = 64 << 20
"""A ClusterState of some 50,000 Datasets."""
END_GRACE_S = 5.0
_STATUS: dict[type[Exception], tuple[int, str]] = {
    errors.NotFound: (404, "NotFound"),
    errors.SyncConflict: (409, "Conflict"),
    errors.PrefetchConflict: (409, "Conflict"),
    errors.MembershipRefused: (409, "Conflict"),
    errors.BadInput: (400, "BadRequest"),
    ValidationError: (400, "BadDocument"),
    TimeoutError: (503, "DeadlineExceeded"),
    errors.StoreFull: (503, "StoreFull"),
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class AdminServer:
    """A listening admin API. Made by `start_admin`."""

    port: int
    _runner: web.AppRunner

    async def aclose(self) -> None:
        await self._runner.cleanup()


async def start_admin(
    backend: AdminBackend, *, host: str, port: int, tls_dir: str | None, deadline_s: float = 30.0
) -> AdminServer:
    """Serves on host:port (0: any free one) until `aclose`. `tls_dir` holds ca.crt, tls.crt and tls.key; None is for tests
    alone. Raises ConfigError where they cannot be loaded, and where it cannot listen."""
    context = server_tls(tls_dir) if tls_dir is not None else None
    application = _application(AdminApi(backend), deadline_s, demand_certificate=context is not None)
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=END_GRACE_S)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, ssl_context=context)
        await site.start()
    except OSError as exc:
        await runner.cleanup()
        why = os.strerror(exc.errno) if exc.errno else str(exc)
        raise errors.ConfigError(f"admin_port: cannot listen on {host}:{port}: {why}; free it or give another") from exc
    return AdminServer(runner.addresses[0][1], runner)


def server_tls(tls_dir: str) -> ssl.SSLContext:
    """The server's side of mutual TLS. Raises ConfigError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_OPTIONAL
    try:
        context.load_cert_chain(os.path.join(tls_dir, "tls.crt"), os.path.join(tls_dir, "tls.key"))
        context.load_verify_locations(os.path.join(tls_dir, "ca.crt"))
    except (OSError, ssl.SSLError) as exc:
        raise errors.ConfigError(f"admin_tls: {tls_dir} needs ca.crt, tls.crt and tls.key in PEM: {exc}") from exc
    return context


class AdminApi:
    """One handler for each path of the contract."""

    def __init__(self, backend: AdminBackend) -> None:
        self._backend = backend

    def routes(self) -> list[web.RouteDef]:
        return [
            web.put("/v1/state", self.put_state),
            web.get("/v1/report", self.report),
            web.put("/v1/membership", self.put_membership),
            web.get("/v1/membership", self.membership),
            web.post("/v1/datasets/{uid}/sync", self.start_sync),
            web.get("/v1/datasets/{uid}/sync", self.sync),
            web.post("/v1/datasets/{uid}/prefetch", self.start_prefetch),
            web.get("/v1/datasets/{uid}/prefetch", self.prefetch),
            web.delete("/v1/datasets/{uid}/prefetch", self.stop_prefetch),
            web.get("/v1/datasets/{uid}/commits", self.commits),
            web.get("/v1/datasets/{uid}/diff", self.diff),
            web.get("/healthz", self.health),
            web.get("/readyz", self.ready),
            web.get("/metrics", self.metrics),
        ]

    async def put_state(self, request: web.Request) -> web.Response:
        await self._backend.put_state(ClusterState.model_validate_json(await request.read()))
        return web.Response(status=204)

    async def report(self, request: web.Request) -> web.Response:
        return _document(await self._backend.report())

    async def put_membership(self, request: web.Request) -> web.Response:
        await self._backend.put_membership(Membership.model_validate_json(await request.read()))
        return web.Response(status=204)

    async def membership(self, request: web.Request) -> web.Response:
        found = self._backend.membership()
        if found is None:
            raise errors.NotFound("no membership came yet: this member is alone until the operator gives it one")
        return _document(found)

    async def start_sync(self, request: web.Request) -> web.Response:
        wanted = SyncRequest.model_validate_json(await request.read() or b"{}")
        return _document(await self._backend.start_sync(request.match_info["uid"], wanted))

    async def sync(self, request: web.Request) -> web.Response:
        report = await self._backend.sync(request.match_info["uid"])
        if report is None:
            raise errors.NotFound("no sync of this Dataset ever ran here")
        return _document(report)

    async def start_prefetch(self, request: web.Request) -> web.Response:
        wanted = PrefetchRequest.model_validate_json(await request.read() or b"{}")
        return _document(await self._backend.start_prefetch(request.match_info["uid"], wanted))

    async def prefetch(self, request: web.Request) -> web.Response:
        report = await self._backend.prefetch(request.match_info["uid"])
        if report is None:
            raise errors.NotFound("no prefetch of this Dataset ever ran here")
        return _document(report)

    async def stop_prefetch(self, request: web.Request) -> web.Response:
        return _document(await self._backend.stop_prefetch(request.match_info["uid"]))

    async def commits(self, request: web.Request) -> web.Response:
        return _document(await self._backend.commits(request.match_info["uid"]))

    async def diff(self, request: web.Request) -> web.Response:
        try:
            old, new = request.query["old"], request.query["new"]
        except KeyError as exc:
            raise errors.BadInput("diff needs ?old=COMMIT&new=COMMIT") from exc
        return _document(await self._backend.diff(request.match_info["uid"], old, new))

    async def health(self, request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def ready(self, request: web.Request) -> web.Response:
        reason = self._backend.ready()
        return web.Response(text="ok\n") if reason is None else web.Response(status=503, text=reason + "\n")

    async def metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=self._backend.metrics(), headers={"Content-Type": CONTENT_TYPE})


def _application(api: AdminApi, deadline_s: float, *, demand_certificate: bool) -> web.Application:
    @web.middleware
    async def door(request: web.Request, handler: Handler) -> web.StreamResponse:
        if demand_certificate and request.path not in OPEN_PATHS and not _certified(request):
            return _error(403, "CertificateRequired", "show a client certificate that the cluster's CA signed")
        try:
            async with asyncio.timeout(deadline_s):
                return await handler(request)
        except web.HTTPException as exc:
            return _error(exc.status, exc.reason.replace(" ", ""), f"{request.method} {request.path}: {exc.reason}")
        except (errors.ForebayError, ValidationError, TimeoutError) as exc:
            return _failed(exc)
        except Exception:
            log.exception("admin request failed", extra={"method": request.method, "path": request.path})
            return _error(500, "InternalError", "an internal error occurred; the member's log says more")

    application = web.Application(client_max_size=BODY_LIMIT, middlewares=[door])
    application.add_routes(api.routes())
    return application


def _certified(request: web.Request) -> bool:
    return request.transport is not None and bool(request.transport.get_extra_info("peercert"))


def _failed(error: Exception) -> web.Response:
    status, reason = next(
        (_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), (503, type(error).__name__)
    )
    return _error(status, reason, _message(error))


def _message(error: Exception) -> str:
    if isinstance(error, ValidationError):  # without its input, which may hold credentials
        first = error.errors(include_input=False, include_url=False)[0]
        return f"{'.'.join(map(str, first['loc'])) or 'document'}: {first['msg']}"
    return str(error) or "the deadline passed"


def _document(document: Document) -> web.Response:
    return web.Response(body=document.model_dump_json().encode(), content_type="application/json")


def _error(status: int, reason: str, message: str) -> web.Response:
    body = AdminError(reason=reason, message=message).model_dump_json().encode()
    return web.Response(status=status, body=body, content_type="application/json")
