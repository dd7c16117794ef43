"""What kubelet probes and Prometheus ask the driver by HTTP."""

from contextlib import AsyncExitStack

from aiohttp import web

from forebay_cache.csi.base import Agent
from forebay_cache.csi.registration import Registration
from forebay_cache.model.errors import ConfigError
from forebay_cache.telemetry import CONTENT_TYPE, Telemetry


class Health:
    """Ready: the kubelet knows the driver, and the agent can mount."""

    def __init__(self, registration: Registration, agent: Agent, telemetry: Telemetry) -> None:
        self._registration = registration
        self._agent = agent
        self._telemetry = telemetry

    async def listen(self, host: str, port: int, stack: AsyncExitStack) -> int:
        """Serves until the stack unwinds -> the port. Raises ConfigError."""
        application = web.Application()
        application.add_routes(
            [web.get("/healthz", self.health), web.get("/readyz", self.ready), web.get("/metrics", self.metrics)]
        )
        runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as exc:
            raise ConfigError(f"health_port: {host}:{port}: {exc.strerror}") from exc
        bound: int = runner.addresses[0][1]
        return bound

    async def health(self, request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def ready(self, request: web.Request) -> web.Response:
        reason = self._registration.why_not or await self._agent.why_not_ready()
        return web.Response(status=503 if reason else 200, text=f"{reason or 'ok'}\n")

    async def metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=self._telemetry.exposition(), headers={"Content-Type": CONTENT_TYPE})
