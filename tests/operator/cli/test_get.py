import asyncio
import io
from pathlib import Path

import pytest
from tests.cache.serve.conftest import Running
from tests.operator.cli.conftest import Desk

from forebay_cache.client.session import File, Session
from forebay_operator.cli.get import fetch, place
from forebay_operator.cli.progress import bytes_bar
from forebay_operator.model import BadManifest, OperatorError


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


async def test_folders_and_files_arrive_whole(
    desk: Desk, running: Running, objects: dict[bytes, bytes], tmp_path: Path
) -> None:
    plain = {k: v for k, v in objects.items() if k not in (b"dir/../up", b"a//b")}
    running.member.serve("photos", plain, anonymous=False)
    await desk.furnish(endpoint_port=running.port)
    done = await desk.run("get", "photos", "/", "--to", str(tmp_path / "all"), "-j", "3")
    assert (done.code, done.err) == (0, "")
    assert tree(tmp_path / "all") == {k.decode(): v for k, v in plain.items()}
    await desk.run("get", "photos", "dir/", "a.txt", "--to", str(tmp_path / "some"))
    assert set(tree(tmp_path / "some")) == {"dir/one.bin", "dir/two.bin", "a.txt"}


async def test_a_missing_file_fails_and_leaves_nothing(
    desk: Desk, running: Running, objects: dict[bytes, bytes], tmp_path: Path
) -> None:
    running.member.serve("photos", objects, anonymous=False)
    await desk.furnish(endpoint_port=running.port)
    done = await desk.run("get", "photos", "absent", "--to", str(tmp_path / "x"))
    assert (done.code, done.err) == (3, "forebay get: no file 'absent': `forebay ls DATASET` shows what there is\n")
    done = await desk.run("get", "photos", "dir", "--to", str(tmp_path / "x"))
    assert (done.code, done.err) == (3, "forebay get: no file 'dir': dir/ is a folder: end it with a slash\n")
    assert (await desk.run("get", "photos", "none/", "--to", str(tmp_path / "x"))).code == 3
    assert tree(tmp_path / "x") == {}


@pytest.mark.parametrize("key", ["../up", "/etc/passwd", "a/../../b", "a//b", "a/.", "dir/", "a\0b"])
def test_a_key_that_would_leave_the_folder_is_refused(key: str) -> None:
    with pytest.raises(BadManifest, match="cannot be a file name"):
        place("/somewhere", key)


class Breaking(asyncio.Protocol):
    """Serves `hello world` in one go, but hangs up after five bytes of the first answer."""

    asked: list[bytes]

    def __init__(self, asked: list[bytes]) -> None:
        self.asked = asked

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        assert isinstance(self.transport, asyncio.Transport)
        self.asked.append(data)
        first = len(self.asked) == 1
        head = (
            b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n"
            if first
            else b"HTTP/1.1 206 X\r\nContent-Length: 6\r\n\r\n"
        )
        self.transport.write(head + (b"hello" if first else b" world"))
        if first:
            self.transport.close()


async def test_a_read_that_breaks_off_goes_on_where_it_stopped(tmp_path: Path) -> None:
    asked: list[bytes] = []
    server = await asyncio.get_running_loop().create_server(lambda: Breaking(asked), "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with Session(f"http://{host}:{port}", "b", None) as session:
        with bytes_bar(io.StringIO()) as bar:
            await fetch(session, File("k", 11, '"v1"'), tmp_path / "k", bar, bar.add_task("all"))
    server.close()
    await server.wait_closed()
    assert (tmp_path / "k").read_bytes() == b"hello world"
    assert b"Range: bytes=5-" in asked[1]
    assert b'If-Match: "v1"' in asked[1]


async def test_a_wrong_size_is_refused(running: Running, objects: dict[bytes, bytes], tmp_path: Path) -> None:
    running.member.serve("photos", objects)
    async with Session(running.url, "photos", None) as session:
        with bytes_bar(io.StringIO()) as bar, pytest.raises(OperatorError, match="5 bytes came of 6"):
            await fetch(session, File("a.txt", 6, ""), tmp_path / "k", bar, bar.add_task("all"))
    assert not (tmp_path / "k").exists()
