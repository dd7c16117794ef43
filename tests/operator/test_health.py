"""What probes and Prometheus are answered."""

import socket

import aiohttp
import pytest

from forebay_operator.health import Health
from forebay_operator.model import Unsupported


async def test_probes_say_why_not() -> None:
    why = {"alive": "", "ready": "the API server does not answer"}
    health = Health(lambda: why["alive"], lambda: why["ready"], lambda: b"metric 1\n")
    async with health.listen("127.0.0.1", 0) as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
        for path, status, text in (
            ("/healthz", 200, "ok\n"),
            ("/readyz", 503, "the API server does not answer\n"),
            ("/metrics", 200, "metric 1\n"),
        ):
            async with http.get(path) as answer:
                assert (answer.status, await answer.text()) == (status, text)


async def test_a_taken_port_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Unsupported, match=str(port)):
            async with Health(str, str, bytes).listen("127.0.0.1", port):
                pass
