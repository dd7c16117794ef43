import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from forebay_cache.serve.pagecache import PageCache

SIZE = 3 << 20


@pytest.fixture
def cold(tmp_path: Path) -> Iterator[int]:
    """A file whose pages were dropped from the page cache."""
    path = tmp_path / "cold"
    path.write_bytes(os.urandom(SIZE))
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    try:
        os.preadv(fd, [bytearray(1)], SIZE // 2, os.RWF_NOWAIT)
        pytest.skip("this file system keeps its pages (tmpfs): nothing can be cold")
    except BlockingIOError:
        yield fd
    finally:
        os.close(fd)


@pytest.mark.parametrize("counted", [True, False])
async def test_what_was_read_ahead_is_resident_and_what_was_not_is_not(cold: int, counted: bool) -> None:
    cache = PageCache(asyncio.get_running_loop(), 2)
    cache._counted = counted
    warmed = asyncio.Event()
    assert not cache.resident(cold, 0, SIZE)
    cache.warm(cold, 1 << 20, 2 << 20, warmed.set)
    await asyncio.wait_for(warmed.wait(), 20)
    assert cache.resident(cold, 1 << 20, 2 << 20)
    assert cache.resident(cold, (1 << 20) + 5, (1 << 20) + 6)
    assert not cache.resident(cold, 0, 1 << 20)
    cache.close()


async def test_one_missing_page_is_noticed(cold: int) -> None:
    cache = PageCache(asyncio.get_running_loop(), 2)
    os.pread(cold, SIZE, 0)
    assert cache.resident(cold, 0, SIZE)
    os.posix_fadvise(cold, 1 << 20, 64 << 10, os.POSIX_FADV_DONTNEED)
    if cache._counted:
        assert not cache.resident(cold, 0, SIZE)
    cache.close()


async def test_the_caller_may_close_its_descriptor_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * SIZE)
    fd = os.open(tmp_path / "f", os.O_RDONLY)
    cache = PageCache(asyncio.get_running_loop(), 1)
    warmed = asyncio.Event()
    cache.warm(fd, 0, SIZE, warmed.set)
    os.close(fd)
    await asyncio.wait_for(warmed.wait(), 20)
    cache.close()
