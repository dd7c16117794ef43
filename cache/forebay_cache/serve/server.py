"""Starts and ends an S3 face, and keeps its heartbeat."""

import asyncio
import contextlib
import logging
import os

from forebay_cache.model.errors import ConfigError
from forebay_cache.model.ids import ChunkId
from forebay_cache.serve.base import Limits
from forebay_cache.serve.face import Face, Site
from forebay_cache.serve.http import Connection

log = logging.getLogger("forebay.s3")
BEAT_S = 0.1
TICK_BEATS = 5
CHECK_BEATS = 10
END_GRACE_S = 5.0


class S3Server:
    """A listening S3 face. Made by `start_s3`."""

    def __init__(self, face: Face, server: asyncio.Server) -> None:
        self._face = face
        self._server = server
        self._heart = face.loop.create_task(self._beat())
        self.port: int = server.sockets[0].getsockname()[1]

    def drop(self, chunk: ChunkId) -> None:
        """Gives up the lease on an evicted chunk now, rather than at the next beat. On the event loop."""
        self._face.pins.drop(chunk)

    async def aclose(self) -> None:
        """Stops listening, lets answers under way end within END_GRACE_S, then cuts them."""
        face = self._face
        self._server.close()
        self._heart.cancel()
        for connection in list(face.connections):
            connection.close_idle()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_GRACE_S):
                await face.empty.wait()
        for connection in list(face.connections):
            connection.abort()
        await face.empty.wait()
        await asyncio.wait([self._heart, *face.tasks])
        await face.loop.run_in_executor(None, face.page_cache.close)
        face.pins.close()

    async def _beat(self) -> None:
        beats = 0
        while True:
            await asyncio.sleep(BEAT_S)
            beats += 1
            try:
                self._at_beat(beats)
            except Exception:
                log.exception("heartbeat failed")

    def _at_beat(self, beats: int) -> None:
        self._face.pins.sweep()
        if beats % TICK_BEATS == 0:
            self._face.at_tick()
        if beats % CHECK_BEATS == 0:
            now = self._face.monotonic()
            for connection in list(self._face.connections):
                connection.check(now)


async def start_s3(site: Site, host: str, port: int, limits: Limits = Limits()) -> S3Server:
    """Serves the S3 face on host:port (0: any free one) until `aclose`. Raises ConfigError where it cannot listen."""
    face = Face(site, limits)
    try:
        server = await face.loop.create_server(lambda: Connection(face), host, port, backlog=1024)
    except OSError as exc:
        why = os.strerror(exc.errno) if exc.errno else str(exc)
        raise ConfigError(f"data_port: cannot listen on {host}:{port}: {why}; free it or give another") from exc
    return S3Server(face, server)
