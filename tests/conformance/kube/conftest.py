"""Each check runs on the dictionary, on it through the socket of `forebay up`, on the real API server, and on a cache in
front of the dictionary and of the real one."""

import asyncio
import contextlib
import functools
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.rigs import objects

from forebay_operator.kube import http
from forebay_operator.kube.base import Kube
from forebay_operator.kube.cache import CachedKube
from forebay_operator.kube.memory import MemoryKube
from forebay_operator.kube.socket import SOCKET, SocketKube, serve_kube
from forebay_operator.model import KINDS, SECRET


@dataclass(frozen=True, slots=True)
class World:
    """`forget` makes a watch of Secrets from before now expire."""

    kube: Kube
    namespace: str
    forget: Callable[[], Awaitable[None]]


REAL = pytest.mark.kube


@pytest.fixture(
    params=["memory", "socket", "cache", pytest.param("http", marks=REAL), pytest.param("cached-http", marks=REAL)]
)
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A Kube and a namespace that nothing else uses."""
    front = {"socket": through_socket, "cache": cached, "cached-http": cached}.get(
        request.param, contextlib.nullcontext
    )
    async with base(request) as found, front(found.kube) as kube:
        yield replace(found, kube=kube)


@asynccontextmanager
async def base(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    if request.param in ("memory", "socket", "cache"):
        memory = MemoryKube(history=20)
        namespace = f"t-{uuid.uuid4().hex[:8]}"
        yield World(memory, namespace, functools.partial(write, memory, namespace, 25))
        await memory.aclose()
        return
    plane = request.getfixturevalue("control_plane")
    real = await http.connect_file(str(plane.kubeconfig))
    namespace = plane.namespace()

    async def forget() -> None:
        plane.forget((await real.list(SECRET, namespace)).resource_version)

    yield World(real, namespace, forget)
    await real.aclose()


@asynccontextmanager
async def cached(kube: Kube) -> AsyncIterator[CachedKube]:
    cache = CachedKube(kube, {kind: {} for kind in KINDS.values()}, time.monotonic)
    following = asyncio.create_task(cache.run())
    yield cache
    await cache.aclose()  # first: asyncio leaks a connection whose making is cancelled
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


@asynccontextmanager
async def through_socket(memory: Kube) -> AsyncIterator[SocketKube]:
    with tempfile.TemporaryDirectory() as folder:  # tmp_path may be longer than a socket's name
        async with serve_kube(memory, Path(folder, SOCKET)):
            yield SocketKube(Path(folder, SOCKET))


async def write(kube: Kube, namespace: str, times: int) -> None:
    for number in range(times):
        await kube.apply(objects.secret(namespace, "noise", count=str(number)), manager="noise")
