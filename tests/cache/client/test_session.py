import asyncio
import socket

import pytest
from tests.cache.serve.conftest import KEY, SECRET, Running

from forebay_cache.client.session import File, Folder, Session, refusal
from forebay_cache.model import errors


async def read(session: Session, key: str, start: int = 0, etag: str = "") -> bytes:
    return b"".join([piece async for piece in session.read(key, start, etag=etag)])


async def test_every_key_is_listed_and_read_exactly(running: Running, objects: dict[bytes, bytes]) -> None:
    running.member.serve("photos", objects, anonymous=False)
    async with Session(running.url, "photos", (KEY, SECRET)) as session:
        files = [entry async for entry in session.list(recursive=True)]
        assert [f.key.encode() for f in files] == sorted(objects)
        for file in files:
            assert isinstance(file, File)
            assert file.size == len(objects[file.key.encode()])
            assert await read(session, file.key) == objects[file.key.encode()]
            assert await session.head(file.key) == File(file.key, file.size, file.etag)


async def test_a_level_holds_files_and_folders(running: Running, objects: dict[bytes, bytes]) -> None:
    running.member.serve("photos", objects)
    async with Session(running.url, "photos", None) as session:
        found = [entry async for entry in session.list("dir/")]
    assert [e.key for e in found if isinstance(e, Folder)] == ["dir/../"]
    assert [e.key for e in found if isinstance(e, File)] == ["dir/one.bin", "dir/two.bin"]


async def test_a_listing_goes_on_over_pages(running: Running) -> None:
    running.member.serve("many", {f"{n:05}".encode(): b"x" for n in range(2500)})
    async with Session(running.url, "many", None) as session:
        keys = [entry.key async for entry in session.list()]
    assert keys == [f"{n:05}" for n in range(2500)]


async def test_a_read_goes_on_where_it_stopped_of_the_same_version_only(running: Running) -> None:
    running.member.serve("b", {b"k": b"0123456789"})
    async with Session(running.url, "b", None) as session:
        etag = (await session.head("k")).etag
        assert await read(session, "k", 4, etag) == b"456789"
        with pytest.raises(errors.OriginChanged):
            await read(session, "k", 4, '"another"')


async def test_refusals_become_our_errors_with_the_members_words(running: Running) -> None:
    running.member.serve("b", {b"k": b"x"}, anonymous=False)
    async with Session(running.url, "b", (KEY, SECRET)) as session:
        with pytest.raises(errors.NotFound, match="NoSuchKey"):
            await read(session, "absent")
        with pytest.raises(errors.NotFound):
            await session.head("absent")
    async with Session(running.url, "b", (KEY, "wrong")) as session:
        with pytest.raises(errors.AccessDenied, match="SignatureDoesNotMatch"):
            await read(session, "k")
    async with Session(running.url, "nothing", None) as session:
        with pytest.raises(errors.ForebayError):
            [entry async for entry in session.list()]


async def test_nobody_there_is_unreachable_and_may_be_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with Session(f"http://127.0.0.1:{port}", "b", None) as session:
        with pytest.raises(errors.MemberUnreachable) as met:
            await session.head("k")
    assert met.value.retry


async def test_an_answer_that_breaks_off_is_an_error() -> None:
    async def short(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        writer.close()

    async with await asyncio.start_server(short, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        async with Session(f"http://{host}:{port}", "b", None) as session:
            with pytest.raises(errors.OriginBadAnswer, match="broke off"):
                await read(session, "k")


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (
            410,
            b"<Error><Code>ObjectGone</Code><Message>drifted</Message></Error>",
            errors.PartGone,
            "ObjectGone: drifted",
        ),
        (503, b"", errors.MemberUnreachable, "HTTP 503"),
        (500, b"<html", errors.MemberUnreachable, "HTTP 500"),
        (405, b"", errors.BadInput, "HTTP 405"),
    ],
)
def test_statuses_have_one_error_each(status: int, body: bytes, kind: type[Exception], words: str) -> None:
    made = refusal(status, body, "/b/k")
    assert type(made) is kind
    assert str(made) == f"/b/k: {words}"
