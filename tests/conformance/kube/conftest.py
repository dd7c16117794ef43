"""Each check runs on the dictionary, on it through the socket of `forebay up`, and on the real API server."""

import functools
import tempfile
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.rigs import objects

from forebay_operator.kube import http
from forebay_operator.kube.base import Kube
from forebay_operator.kube.memory import MemoryKube
from forebay_operator.kube.socket import SOCKET, SocketKube, serve_kube
from forebay_operator.model import SECRET


@dataclass(frozen=True, slots=True)
class World:
    """`forget` makes a watch of Secrets from before now expire."""

    kube: Kube
    namespace: str
    forget: Callable[[], Awaitable[None]]


@pytest.fixture(params=["memory", "socket", pytest.param("http", marks=pytest.mark.kube)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A Kube and a namespace that nothing else uses."""
    if request.param in ("memory", "socket"):
        memory = MemoryKube(history=20)
        namespace = f"t-{uuid.uuid4().hex[:8]}"
        forget = functools.partial(write, memory, namespace, 25)
        if request.param == "memory":
            yield World(memory, namespace, forget)
        else:
            async with through_socket(memory) as kube:
                yield World(kube, namespace, forget)
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
async def through_socket(memory: MemoryKube) -> AsyncIterator[SocketKube]:
    with tempfile.TemporaryDirectory() as folder:  # tmp_path may be longer than a socket's name
        async with serve_kube(memory, Path(folder, SOCKET)):
            yield SocketKube(Path(folder, SOCKET))


async def write(kube: Kube, namespace: str, times: int) -> None:
    for number in range(times):
        await kube.apply(objects.secret(namespace, "noise", count=str(number)), manager="noise")
