"""The operator of a cluster: picks the real parts. `forebay-operator`, or python -m forebay_operator."""

import argparse
import asyncio
import os
import random
import signal
import socket
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from forebay_cache.contract import metrics
from forebay_cache.telemetry import Telemetry, configure_logging
from forebay_operator import handlers
from forebay_operator.engine import Engine, Namespace, Parts, Work
from forebay_operator.health import Health
from forebay_operator.kube.base import Kube
from forebay_operator.kube.bound import BoundKube
from forebay_operator.kube.http import connect_file, connect_in_cluster
from forebay_operator.kube.lease import Candidate, Clock
from forebay_operator.members.base import Members
from forebay_operator.members.http import HttpMembers
from forebay_operator.model import LEASE, Key, OperatorError, Unsupported
from forebay_operator.reconcile.loop import Clocks, Operator
from forebay_operator.reconcile.tally import Tally

OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
LEASE_NAME = "forebay-operator"
HEALTH_PORT = 9460


@dataclass(frozen=True, slots=True)
class Options:
    """`watched`: namespaces whose CacheClusters and Datasets are looked after; none: all."""

    lease: Key
    watched: Sequence[str]
    host: str
    port: int
    log_format: Literal["json", "text"]


def run() -> None:
    """The console script."""
    try:
        options = parse(sys.argv[1:], os.environ)
        configure_logging(options.log_format, sys.stderr)
        asyncio.run(until_stopped(options))
    except OperatorError as exc:
        print(f"forebay-operator: {exc}", file=sys.stderr)  # noqa: T201  there may be no logs yet
        sys.exit(1)


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Options:
    parser = argparse.ArgumentParser(
        prog="forebay-operator", description="Keeps CacheClusters and Datasets as asked for."
    )
    parser.add_argument("--namespace", default=environment.get("POD_NAMESPACE", ""), help="of the Lease and this pod")
    parser.add_argument("--lease", default=LEASE_NAME, help="the Lease that elects one of several operators")
    parser.add_argument("--watch", action="append", default=[], metavar="NAMESPACE", help="look after this one; repeat")
    parser.add_argument("--all-namespaces", action="store_true", help="look after all namespaces")
    parser.add_argument("--health-host", default="0.0.0.0", help="address of /healthz, /readyz and /metrics")
    parser.add_argument("--health-port", type=int, default=HEALTH_PORT)
    parser.add_argument("--log-format", choices=("json", "text"), default="json")
    found = parser.parse_args(arguments)
    namespace = found.namespace or own_namespace()
    watched = () if found.all_namespaces else tuple(dict.fromkeys(found.watch or (namespace,)))
    lease = Key(LEASE, namespace, found.lease)
    return Options(lease, watched, found.health_host, found.health_port, found.log_format)


def own_namespace() -> str:
    """Raises Unsupported."""
    try:
        return OWN_NAMESPACE.read_text().strip()
    except OSError as exc:
        raise Unsupported("not in a pod with a service account: say --namespace") from exc


async def until_stopped(options: Options) -> None:
    """Serves until SIGTERM or SIGINT."""
    task = asyncio.ensure_future(serve(options))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError):
        await task


async def serve(options: Options) -> None:
    async with AsyncExitStack() as stack:
        kube = await (connect_file() if os.environ.get("KUBECONFIG") else connect_in_cluster())
        stack.push_async_callback(kube.aclose)
        members = HttpMembers()
        stack.push_async_callback(members.aclose)
        candidate = Candidate(kube, options.lease, identity(), Clock(boot_time, time.time))
        shown = Telemetry()
        engine = Engine(candidate, parts(kube, members, candidate, options, shown))
        show(shown, engine)
        health = Health(engine.why_not_alive, engine.why_not_ready, shown.exposition)
        await stack.enter_async_context(health.listen(options.host, options.port))
        await engine.run()


def parts(kube: Kube, members: Members, candidate: Candidate, options: Options, shown: Telemetry) -> Parts:
    tally, clocks = Tally(shown, time.monotonic), Clocks(time.time, time.monotonic, random.random)

    def begin() -> Mapping[Namespace, Work]:
        places: Sequence[Namespace] = options.watched or (None,)
        bound = {place: BoundKube(kube, lambda: candidate.holds, place) for place in places}
        return {place: Operator(one, members, clocks, tally) for place, one in bound.items()}

    return Parts(begin, lambda wake: handlers.hear(wake, options.watched), boot_time)


def show(shown: Telemetry, engine: Engine) -> None:
    build = (version("forebay"), "operator")
    shown.show(metrics.BUILD, lambda: {build: 1.0})
    shown.show(metrics.OPERATOR_ELECTED, lambda: {(): float(engine.elected)})


def identity() -> str:
    return f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"


def boot_time() -> float:
    """Monotonic, and counts what the machine slept: a lease does not wait for that."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


if __name__ == "__main__":
    run()
