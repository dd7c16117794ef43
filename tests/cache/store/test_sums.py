import os
import pathlib
import random

import pytest

from forebay_cache.model.ids import BLOCK_SIZE, CHUNK_SIZE
from forebay_cache.store.layout import SUMS_AT
from forebay_cache.store.sums import bad_blocks, sums


@pytest.fixture
def fd(tmp_path: pathlib.Path):  # type: ignore[no-untyped-def]
    """A whole chunk with its trailer."""
    data = random.Random(1).randbytes(CHUNK_SIZE)
    opened = os.open(tmp_path / "chunk", os.O_RDWR | os.O_CREAT)
    os.pwrite(opened, data, 0)
    os.pwrite(opened, sums(data), SUMS_AT)
    yield opened
    os.close(opened)


def test_the_checksum_is_crc32c() -> None:
    zeros = sums(bytes(BLOCK_SIZE))
    assert zeros == (0x98F94189).to_bytes(4, "little")  # so a lost block with a lost checksum does not pass
    assert sums(memoryview(bytes(3 * BLOCK_SIZE))) == 3 * zeros
    assert sums(bytearray()) == b""


def test_good_blocks_pass(fd: int) -> None:
    assert bad_blocks(fd, 0, 2048) == []
    assert bad_blocks(fd, 5, 6) == []


def test_bad_blocks_are_named(fd: int) -> None:
    for block in (0, 5, 255, 256, 2047):
        os.pwrite(fd, b"\0\1", block * BLOCK_SIZE + 100)
    os.pwrite(fd, b"\0\1", SUMS_AT + 4 * 1000)  # a damaged checksum is a bad block as well
    assert bad_blocks(fd, 0, 2048) == [0, 5, 255, 256, 1000, 2047]
    assert bad_blocks(fd, 5, 6) == [5]
    assert bad_blocks(fd, 6, 255) == []


def test_a_short_file_is_bad_at_its_end(fd: int) -> None:
    os.ftruncate(fd, 2046 * BLOCK_SIZE + 1)
    assert bad_blocks(fd, 2040, 2048) == list(range(2040, 2048))  # the trailer is lost as well
