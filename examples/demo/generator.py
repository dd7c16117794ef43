"""The demo's data: decodable JPEGs of 100 KB and a few large files, each determined by its name alone.

Who verifies a read makes the bytes anew and compares: nothing is taken on trust from what was uploaded.
"""

import functools
import io
import random
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image

PHOTO_SIZE = 100_000
PICTURES = 8
BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Shape:
    """How much data there is."""

    photos: int
    folders: int
    archives: int
    archive_size: int

    @property
    def size(self) -> int:
        return self.photos * PHOTO_SIZE + self.archives * self.archive_size


def names(shape: Shape) -> list[str]:
    """Every path, photos first."""
    photos = [f"photos/class-{n % shape.folders:03d}/image-{n:05d}.jpg" for n in range(shape.photos)]
    return photos + [f"archives/part-{n:02d}.bin" for n in range(shape.archives)]


def blocks(name: str, shape: Shape) -> Iterator[bytes]:
    """The bytes of one file."""
    if name.endswith(".jpg"):
        yield photo(name)
        return
    source = random.Random(name)
    for at in range(0, shape.archive_size, BLOCK):
        yield source.randbytes(min(BLOCK, shape.archive_size - at))


def photo(name: str) -> bytes:
    """A JPEG of PHOTO_SIZE bytes: one of a few pictures, made unique by comments of random bytes behind its first marker."""
    source = random.Random(name)
    picture = _picture(source.randrange(PICTURES))
    missing = PHOTO_SIZE - len(picture)
    comments = bytearray()
    while missing:
        size = min(missing, 60_000)
        size -= 4 * (0 < missing - size < 4)  # what is left for the next comment must hold its header
        comments += b"\xff\xfe" + (size - 2).to_bytes(2, "big") + source.randbytes(size - 4)
        missing -= size
    return picture[:2] + bytes(comments) + picture[2:]


@functools.cache
def _picture(number: int) -> bytes:
    noise = Image.frombytes("RGB", (96, 96), random.Random(number).randbytes(96 * 96 * 3))
    with io.BytesIO() as out:
        noise.resize((256, 256)).save(out, "JPEG", quality=85)
        return out.getvalue()
