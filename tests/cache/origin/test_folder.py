"""What only a directory has: links, folders in place of files, files that change under the reader."""

import asyncio
import os
import pathlib
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from forebay_cache.contract.config import DirectorySource
from forebay_cache.model.errors import BadInput, OriginBadAnswer, OriginChanged, OriginMissing, OriginUnavailable
from forebay_cache.origin.folder import BUFFER, FolderOrigin
from forebay_cache.origin.limits import OriginLimits


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "secret").write_bytes(b"outside")
    (tmp_path / "root" / "sub").mkdir(parents=True)
    (tmp_path / "root" / "file").write_bytes(b"inside")
    return tmp_path / "root"


@pytest.fixture
async def origin(root: pathlib.Path) -> AsyncIterator[FolderOrigin]:
    async with aclosing(FolderOrigin(DirectorySource(path=str(root)))) as found:
        yield found


async def keys(origin: FolderOrigin, prefix: bytes = b"") -> list[bytes]:
    return [found.key async for page in origin.list(prefix) for found in page]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_directory_is_no_strong_origin(origin: FolderOrigin) -> None:
    assert not origin.strong


async def test_links_are_neither_listed_nor_followed(root: pathlib.Path, origin: FolderOrigin) -> None:
    (root / "link").symlink_to("../secret")
    (root / "sub" / "up").symlink_to("../..")
    (root / "near").symlink_to("file")
    assert await keys(origin) == [b"file"]
    assert await keys(origin, b"sub/up/") == []
    assert await origin.prefixes(b"sub/up/") == []
    for key in (b"link", b"near", b"sub/up/secret", b"../secret", b"sub/../../secret", b"a\0b"):
        with pytest.raises(OriginMissing):
            await origin.read(key, 0, 1)


async def test_only_files_are_objects(root: pathlib.Path, origin: FolderOrigin) -> None:
    os.mkfifo(root / "pipe")
    assert await keys(origin) == [b"file"]
    for key in (b"pipe", b"sub", b"file/below"):
        with pytest.raises(OriginMissing):
            await origin.head(key)


async def test_names_need_not_be_text(root: pathlib.Path, origin: FolderOrigin) -> None:
    (root / os.fsdecode(b"\xff\xfe")).write_bytes(b"raw")
    assert await keys(origin) == [b"file", b"\xff\xfe"]
    assert (await origin.head(b"\xff\xfe")).object.size == 3


async def test_a_file_written_again_with_the_same_size_and_time_has_another_etag(
    root: pathlib.Path, origin: FolderOrigin
) -> None:
    before = (await origin.head(b"file")).object
    info = os.stat(root / "file")
    (root / "file.new").write_bytes(b"INSIDE")
    os.utime(root / "file.new", ns=(info.st_atime_ns, info.st_mtime_ns))
    os.replace(root / "file.new", root / "file")
    after = (await origin.head(b"file")).object
    assert (after.size, after.mtime_ms) == (before.size, before.mtime_ms)
    assert after.etag != before.etag


async def test_a_file_cut_short_while_it_is_read_is_no_answer(root: pathlib.Path, origin: FolderOrigin) -> None:
    (root / "file").write_bytes(bytes(3 * BUFFER))
    async with aclosing(await origin.read(b"file", 0, 3 * BUFFER)) as body:
        buffers = aiter(body)
        await anext(buffers)
        os.truncate(root / "file", BUFFER)
        with pytest.raises(OriginBadAnswer):
            await anext(buffers)


async def test_a_file_changed_while_it_is_read_is_found_out(root: pathlib.Path, origin: FolderOrigin) -> None:
    (root / "file").write_bytes(bytes(2 * BUFFER))
    async with aclosing(await origin.read(b"file", 0, 2 * BUFFER)) as body:
        buffers = aiter(body)
        await anext(buffers)
        with open(root / "file", "r+b") as file:
            file.write(b"x")
        os.utime(root / "file", ns=(1, 1))  # a clock may be too coarse for the write alone
        with pytest.raises(OriginChanged):
            await anext(buffers)


async def test_a_directory_that_is_not_there_is_missing(tmp_path: pathlib.Path) -> None:
    async with aclosing(FolderOrigin(DirectorySource(path=str(tmp_path / "none")))) as origin:
        with pytest.raises(OriginMissing, match="every member"):
            await keys(origin)
        with pytest.raises(OriginMissing):
            await origin.prefixes(b"")


async def test_only_a_slash_splits_a_directory(origin: FolderOrigin) -> None:
    with pytest.raises(BadInput):
        await origin.prefixes(b"", b"-")


async def test_a_deep_tree_is_listed(root: pathlib.Path, origin: FolderOrigin) -> None:
    here = os.open(root, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("leaf", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    assert await keys(origin, b"d/") == [b"d/" * 300 + b"leaf"]


async def test_a_listing_that_is_left_closes_its_folders(root: pathlib.Path, origin: FolderOrigin) -> None:
    for number in range(1500):
        (root / "sub" / str(number)).touch()
    await keys(origin)
    before = descriptors()
    async with aclosing(origin.list(b"")) as pages:  # type: ignore[type-var]
        await anext(pages)
    del pages
    assert descriptors() <= before  # the collector may have closed others of this process meanwhile


async def test_a_reader_that_goes_while_its_file_is_opened_leaves_no_descriptor(
    origin: FolderOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening, go_on, opened = threading.Event(), threading.Event(), threading.Event()
    real = origin._open

    def slowly(*arguments: object) -> object:
        opening.set()
        go_on.wait(10)
        result = real(*arguments)  # type: ignore[arg-type]
        opened.set()
        return result

    monkeypatch.setattr(origin, "_open", slowly)
    before = descriptors()
    reader = asyncio.ensure_future(origin.read(b"file", 0, 1))
    await asyncio.to_thread(opening.wait, 10)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    go_on.set()
    await asyncio.to_thread(opened.wait, 10)
    async with asyncio.timeout(10):
        while descriptors() > before:
            await asyncio.sleep(0)


async def test_a_hung_file_system_ends_by_the_deadline(root: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    async with aclosing(FolderOrigin(DirectorySource(path=str(root)), OriginLimits(first_byte_s=0.02))) as origin:
        monkeypatch.setattr(origin, "_open", lambda *_: over.wait(10))
        with pytest.raises(OriginUnavailable, match="hang"):
            await origin.head(b"file")
        over.set()
