"""Which keys a file system can hold; the others S3 lists exactly, and the image leaves out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from forebay_cache.catalog.image import FileRecord, ImageWriter
from forebay_cache.catalog.leaf import Row
from forebay_cache.model.ids import BLOCK_SIZE, SegmentId

NAME_LIMIT = 255
FIRST = 10


@dataclass(slots=True)
class LeftOut:
    """Keys left out of an image: how many, and the first ten."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, key: bytes) -> None:
        self.count += 1
        self.name(key)

    def name(self, key: bytes) -> None:
        if len(self.first) < FIRST:
            self.first.append(key.decode(errors="replace"))


def mountable(key: bytes) -> bool:
    """Whether POSIX can hold the path. A key that ends with a slash is a directory."""
    parts = key.removesuffix(b"/").split(b"/")
    return all(0 < len(part) <= NAME_LIMIT and part not in (b".", b"..") and b"\0" not in part for part in parts)


def write_tree(writer: ImageWriter, rows: Iterable[Row], places: Mapping[SegmentId, tuple[int, int]]) -> LeftOut:
    """Adds every file of a commit. `places`: device (from 1) and first byte of each segment."""
    left_out = LeftOut()
    run: list[FileRecord] = []
    for key, size, mtime_ms, segment, offset in rows:
        if not _plain(key):
            if not mountable(key):
                left_out.add(key)
                continue
            if key.endswith(b"/"):
                writer.add(run)
                run.clear()
                writer.add_folder(key[:-1])
                if size:
                    left_out.add(key)  # the directory is there, its bytes cannot be
                continue
        device, base = places.get(segment, (0, 0))
        run.append(FileRecord(key, size, max(0, mtime_ms // 1000), device, (base + offset) // BLOCK_SIZE))
        if len(run) >= 1024:
            writer.add(run)
            run.clear()
    writer.add(run)
    return left_out


def _plain(key: bytes) -> bool:
    """Most keys: a file beyond doubt, at a fifth of the price of `mountable`."""
    return (
        len(key) <= NAME_LIMIT
        and key[0] not in b"/."
        and key[-1] != 0x2F
        and b"/." not in key
        and b"//" not in key
        and b"\0" not in key
    )
