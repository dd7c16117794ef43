"""Which keys a file system can hold; the others S3 lists exactly, and the image leaves out."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from forebay_cache.catalog.base import Commit
from forebay_cache.catalog.image import FileRecord, ImageWriter
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
        if len(self.first) < FIRST:
            self.first.append(key.decode(errors="replace"))


def mountable(key: bytes) -> bool:
    """Whether POSIX can hold the path. A key that ends with a slash is a directory."""
    parts = key.removesuffix(b"/").split(b"/")
    return all(0 < len(part) <= NAME_LIMIT and part not in (b".", b"..") and b"\0" not in part for part in parts)


def write_tree(writer: ImageWriter, commit: Commit, places: Mapping[SegmentId, tuple[int, int]]) -> LeftOut:
    """Adds every file of `commit`. `places`: device (from 1) and first byte of each segment."""
    left_out = LeftOut()
    run: list[FileRecord] = []
    for entry in commit:
        if not mountable(entry.key):
            left_out.add(entry.key)
        elif entry.key.endswith(b"/"):
            writer.add(run)
            run.clear()
            writer.add_folder(entry.key[:-1])
        else:
            device, base = places.get(entry.extent.segment, (0, 0))
            block = (base + entry.extent.offset) // BLOCK_SIZE
            run.append(FileRecord(entry.key, entry.size, entry.mtime_ms // 1000, device, block))
            if len(run) >= 1024:
                writer.add(run)
                run.clear()
    writer.add(run)
    return left_out
