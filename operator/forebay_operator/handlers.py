"""kopf: events of what users write, one line each: `wake(name)`.

It keeps no state in objects and holds no finalizers; queue, back-off, resync and election are ours. It runs in a thread and an
event loop of its own, because when it stops it cancels every task of its loop, whoever made it.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import kopf

from forebay_operator.model import CACHE_CLUSTER, DATASET, GROUP, Key

VERSION = CACHE_CLUSTER.api_version.removeprefix(f"{GROUP}/")
AGAIN_S, END_S = 5.0, 10.0
SERVER_TIMEOUT_S = 290  # whole: the API server refuses 290.0, and a watch of kopf that is refused is over for good
Wake = Callable[[Key], None]
log = logging.getLogger("forebay.handlers")


async def hear(wake: Wake, namespaces: Sequence[str]) -> None:
    """Calls `wake` in this loop until cancelled, for objects in `namespaces` (none: in all)."""
    loop, stop = asyncio.get_running_loop(), threading.Event()

    def told(key: Key) -> None:
        loop.call_soon_threadsafe(wake, key)

    listening = asyncio.ensure_future(asyncio.to_thread(listen, told, namespaces, stop))
    try:
        await asyncio.shield(listening)
    finally:
        stop.set()
        await asyncio.wait({listening}, timeout=END_S)


def listen(wake: Wake, namespaces: Sequence[str], stop: threading.Event) -> None:
    """Blocks until `stop`. What ends kopf before (an API server that is away for a minute) begins it anew."""
    while not stop.is_set():
        try:
            kopf.run(
                registry=registry(wake),
                settings=settings(),
                standalone=True,
                clusterwide=not namespaces,
                namespaces=list(namespaces),
                stop_flag=stop,
            )
        except Exception:
            log.exception("kopf ended", extra={"again_s": AGAIN_S})
        stop.wait(AGAIN_S)


def settings() -> kopf.OperatorSettings:
    """Nothing but watches."""
    found = kopf.OperatorSettings()
    found.posting.enabled = False
    found.scanning.disabled = True
    found.process.ultimate_exiting_timeout = None
    found.watching.server_timeout = SERVER_TIMEOUT_S
    found.watching.client_timeout = SERVER_TIMEOUT_S + 10
    found.watching.connect_timeout = found.networking.connect_timeout = 10.0
    found.networking.request_timeout = 30.0
    return found


def registry(wake: Wake) -> kopf.OperatorRegistry:
    found = kopf.OperatorRegistry()
    kopf.on.login(registry=found)(log_in)

    @kopf.on.event(GROUP, VERSION, CACHE_CLUSTER.plural, registry=found, when=matters)
    async def cluster(namespace: str | None, name: str, **_: Any) -> None:
        wake(Key(CACHE_CLUSTER, namespace or "", name))

    @kopf.on.event(GROUP, VERSION, DATASET.plural, registry=found, when=matters)
    async def dataset(namespace: str | None, spec: Mapping[str, Any], **_: Any) -> None:
        wake(Key(CACHE_CLUSTER, namespace or "", str(spec.get("clusterRef", {}).get("name", ""))))

    return found


def log_in(**given: Any) -> kopf.ConnectionInfo | None:
    """By the file that KUBECONFIG names, else by the pod's service account; asked again when a token has expired."""
    return kopf.login_with_kubeconfig(**given) or kopf.login_with_service_account(**given)


def matters(event: Mapping[str, Any], memo: kopf.Memo, **_: Any) -> bool:
    """Whether more than status changed since the last event: most such changes are our own."""
    metadata = event["object"]["metadata"]
    seen = [metadata.get(field) for field in ("uid", "generation", "annotations", "deletionTimestamp")]
    before, memo["seen"] = memo.get("seen"), seen
    return event["type"] == "DELETED" or seen != before
