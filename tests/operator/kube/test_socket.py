"""The conformance checks run through the socket as well; here is what only the socket has."""

import asyncio
import stat
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from forebay_operator.kube.memory import MemoryKube
from forebay_operator.kube.socket import SocketKube, serve_kube
from forebay_operator.model import CONFIG_MAP, BadManifest, Key, KubeExpired, KubeNotFound, KubeUnavailable

KEY = Key(CONFIG_MAP, "ns", "c")
BODY = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "ns"}, "data": {"a": "1"}}


@pytest.fixture
def place() -> AsyncIterator[Path]:  # tmp_path may be longer than a socket's name
    with tempfile.TemporaryDirectory() as name:
        yield Path(name) / "kube.sock"


async def test_objects_and_errors_come_through(place: Path) -> None:
    async with serve_kube(MemoryKube(), place):
        kube = SocketKube(place)
        made = await kube.apply(BODY, manager="m")
        assert await kube.get(KEY) == made
        assert list((await kube.list(CONFIG_MAP, "ns")).items) == [made]
        with pytest.raises(KubeNotFound, match="ConfigMap ns/other"):
            await kube.get(Key(CONFIG_MAP, "ns", "other"))
        with pytest.raises(KubeExpired):
            await anext(aiter(kube.watch(CONFIG_MAP, "99999")))


async def test_only_the_owner_may_open_it_and_it_is_gone_after(place: Path) -> None:
    async with serve_kube(MemoryKube(), place):
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert not place.exists()


async def test_a_watch_ends_with_its_caller(place: Path) -> None:
    memory = MemoryKube()
    async with serve_kube(memory, place):
        watch = SocketKube(place).watch(CONFIG_MAP, (await memory.list(CONFIG_MAP)).resource_version)
        first = asyncio.ensure_future(anext(watch))
        while not first.done():
            await memory.apply(BODY, manager="m")
            await asyncio.sleep(0)
        assert (await first).type == "ADDED"
        await watch.aclose()


async def test_leaving_ends_a_watch_under_way(place: Path) -> None:
    async with asyncio.timeout(5), serve_kube(MemoryKube(), place):
        waiting = asyncio.ensure_future(anext(SocketKube(place).watch(CONFIG_MAP, "0")))
        await SocketKube(place).list(CONFIG_MAP)
    with pytest.raises(KubeUnavailable):
        await waiting


async def test_nobody_there_says_how_to_start(place: Path) -> None:
    with pytest.raises(KubeUnavailable, match=r"forebay up -f FILES --state"):
        await SocketKube(place).list(CONFIG_MAP)


async def test_a_call_that_is_none_is_refused_and_the_next_is_served(place: Path) -> None:
    async with serve_kube(MemoryKube(), place):
        for line in (b"hello\n", b'{"call": "drop"}\n', b'{"call": "get", "kind": ["v1", "Node"]}\n'):
            reader, writer = await asyncio.open_unix_connection(place)
            writer.write(line)
            assert b"BadManifest" in await reader.readline()
            writer.close()
        await SocketKube(place).list(CONFIG_MAP)


async def test_a_path_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadManifest, match="shorter --state"):
        async with serve_kube(MemoryKube(), tmp_path / ("x" * 120)):
            pass
