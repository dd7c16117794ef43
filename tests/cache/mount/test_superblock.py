import os
from pathlib import Path

import pytest

from forebay_cache.catalog.image import FileRecord, ImageWriter
from forebay_cache.model.errors import CatalogCorrupt
from forebay_cache.mount.superblock import device_sizes


def head(path: Path, blocks: list[int]) -> bytes:
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    scratch = os.memfd_create("scratch")
    try:
        writer = ImageWriter(fd, scratch, blocks, 0)
        writer.add([FileRecord(b"a", 4096, 0, 1, 256)])
        writer.close()
        return os.pread(fd, 4096, 0)
    finally:
        os.close(fd)
        os.close(scratch)


@pytest.mark.parametrize("blocks", [[512, 600, 512, 512], [512] * 23])
def test_the_image_says_how_long_its_devices_are(tmp_path: Path, blocks: list[int]) -> None:
    assert device_sizes(head(tmp_path / "image", blocks)) == [count * 4096 for count in blocks]


@pytest.mark.parametrize("data", [b"", bytes(4096), b"x" * 100])
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(CatalogCorrupt):
        device_sizes(data)


def test_a_device_table_beyond_the_first_block_is_refused(tmp_path: Path) -> None:
    data = bytearray(head(tmp_path / "image", [512] * 4))
    data[1024 + 0x56 : 1024 + 0x58] = (24).to_bytes(2, "little")
    with pytest.raises(CatalogCorrupt, match="24 data devices"):
        device_sizes(bytes(data))
