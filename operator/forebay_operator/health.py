"""What kubelet probes and Prometheus ask the operator by HTTP."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from forebay_cache.telemetry import CONTENT_TYPE
from forebay_operator.model import Unsupported

WhyNot = Callable[[], str]
"""Empty where all is well."""


class Health:
    def __init__(self, alive: WhyNot, ready: WhyNot, exposition: Callable[[], bytes]) -> None:
        self._alive, self._ready, self._exposition = alive, ready, exposition

    @asynccontextmanager
    async def listen(self, host: str, port: int) -> AsyncIterator[int]:
        """Serves meanwhile -> the port. Raises Unsupported."""
        application = web.Application()
        application.add_routes(
            [web.get("/healthz", self.healthz), web.get("/readyz", self.readyz), web.get("/metrics", self.metrics)]
        )
        runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await bind(runner, host, port)
            yield int(runner.addresses[0][1])
        finally:
            await runner.cleanup()

    async def healthz(self, request: web.Request) -> web.Response:
        return answer(self._alive())

    async def readyz(self, request: web.Request) -> web.Response:
        return answer(self._ready())

    async def metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=self._exposition(), headers={"Content-Type": CONTENT_TYPE})


async def bind(runner: web.AppRunner, host: str, port: int) -> None:
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as exc:
        raise Unsupported(f"health port {host}:{port}: {exc.strerror}") from exc


def answer(why_not: str) -> web.Response:
    return web.Response(status=503 if why_not else 200, text=f"{why_not or 'ok'}\n")
