"""HTTP probes as the kubelet does them: any answer from 200 to 399 is a success, certificates are not verified."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from forebay_operator.model import BadManifest
from forebay_operator.runtime.container import port_number

UNREADY_PERIOD_S = 1.0
LINE_LIMIT = 1 << 12

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Probe:
    port: int
    path: str
    https: bool
    initial_delay_s: float
    period_s: float
    timeout_s: float
    failures: int
    successes: int


def read_probe(container: Mapping[str, Any], name: str) -> Probe | None:
    """The probe `name` (readinessProbe, livenessProbe) of a container. Raises BadManifest for what is not httpGet."""
    spec = container.get(name)
    if not spec:
        return None
    if "httpGet" not in spec:
        raise BadManifest(f"container {container['name']}: a local pod knows httpGet probes only ({name})")
    get = spec["httpGet"]
    return Probe(
        port=port_number(container, get["port"]),
        path=get.get("path", "/"),
        https=get.get("scheme", "HTTP") == "HTTPS",
        initial_delay_s=spec.get("initialDelaySeconds", 0),
        period_s=spec.get("periodSeconds", 10),
        timeout_s=spec.get("timeoutSeconds", 1),
        failures=spec.get("failureThreshold", 3),
        successes=spec.get("successThreshold", 1),
    )


async def verdicts(probe: Probe, address: str, sleep: Sleep) -> AsyncIterator[bool]:
    """True and False each time a threshold is passed. Until the first success it asks every second at least: a person
    waits for that one."""
    await sleep(probe.initial_delay_s)
    run, last, healthy = 0, False, False
    while True:
        good = await answers(probe, address)
        run = run + 1 if good is last else 1
        last = good
        if run == (probe.successes if good else probe.failures):
            healthy = good
            yield good
        await sleep(probe.period_s if healthy else min(probe.period_s, UNREADY_PERIOD_S))


async def answers(probe: Probe, address: str) -> bool:
    try:
        async with asyncio.timeout(probe.timeout_s):
            return 200 <= await status_of(probe, address) < 400
    except (OSError, TimeoutError, ValueError):
        return False


async def status_of(probe: Probe, address: str) -> int:
    """HTTP status of one GET. Raises ValueError for what is not HTTP."""
    reader, writer = await asyncio.open_connection(
        address, probe.port, ssl=unverified() if probe.https else None, limit=LINE_LIMIT
    )
    try:
        request = f"GET {probe.path} HTTP/1.1\r\nHost: {address}:{probe.port}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode("ascii"))
        await writer.drain()
        return int((await reader.readline()).split()[1])
    except IndexError as exc:
        raise ValueError("not an HTTP answer") from exc
    finally:
        writer.transport.abort()


def unverified() -> ssl.SSLContext:
    """Health is not a secret, and a probe knows no authority; the kubelet does the same."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
