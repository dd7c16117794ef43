"""Writes a commit's EROFS metadata image: one pass over sorted files, in bounded memory. It holds names, no data.

Block 0 has the superblock (at 1024) and the device table (at 1152); inodes and directories follow as they come. A node id is
(position - 4096) / 32. A file's inode is chunk-based with one 8-byte index (device, block) for each 8 TiB. A directory is
written when a record outside of it arrives, so behind its children and before its parent, which then fills in the `..` of
each child. The root is node 0 (the superblock has 16 bits for it) and is written last.

Records come in the order of an object store (`a-`, `a.txt`, `a/b`), in which the files of a directory are contiguous but not
in the order a directory needs: the entries of open directories are held, sorted at the end, and spilled as sorted runs where
they are many. Where a file and a directory have one name, the directory stays.

Source: Linux fs/erofs/erofs_fs.h; tried against the kernel and fsck.erofs.
"""

import heapq
import marshal
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

from crc32c import crc32c

from forebay_cache.model.ids import BLOCK_SIZE

FILE, FOLDER = 1, 2
_META = 1
"""First block of inodes."""
_HELD = 1 << 17
"""Entries of open directories in memory, 150 bytes each."""
_BATCH = 1024
_FLUSH = 1 << 22
_NAMED = 10
"""Dropped files that are named."""
_SPAN = BLOCK_SIZE << 31
"""Bytes one index can stand for: 8 TiB."""
_NONE = 0xFFFFFFFF
_PLAIN, _INLINE, _CHUNKED = 0 << 1 | 1, 2 << 1 | 1, 4 << 1 | 1  # data layouts; bit 0: an inode of 64 bytes
_INDEXES = 1 << 5
_FILE = struct.Struct("<HHHHQIIIIQII16xHHI24x")
"""Inode of a file, one index, padding to three slots."""
_FOLDER = struct.Struct("<HHHHQIIIIQII16x")
_SUPER = struct.Struct("<IIIBBHQQIIII16s16sIHHH")
_DEVICE = struct.Struct("<64sIII")

Item = tuple[bytes, int, int]
"""Entry of a directory: name, node id, and where: 0 a file, -1 `.`, -2 `..`, else the place of that directory's own `..`."""
_SELF, _PARENT = -1, -2


class FileRecord(NamedTuple):
    """One file: `path` may be given only once and in byte order; `device` counts from 1, `block` from its start. A tuple:
    a million of them are a third of the price of frozen dataclasses."""

    path: bytes
    size: int
    mtime_s: int
    device: int
    block: int


@dataclass(slots=True)
class _Open:
    """A directory whose children still come."""

    name: bytes
    items: list[Item] = field(default_factory=list)
    runs: list[list[tuple[int, int]]] = field(default_factory=list)  # (place, length) of batches, sorted
    spilled: int = 0  # bytes its spilled entries will take


class ImageWriter:
    """`blocks` of each data device in order; `built`: seconds since the epoch, the time of directories. `scratch`: an
    empty file for what memory does not hold. `dropped` counts the files that a directory beat; `dropped_first` names some."""

    def __init__(self, fd: int, scratch: int, blocks: Sequence[int], built: int) -> None:
        self.dropped = 0
        self.dropped_first: list[bytes] = []
        self._fd = fd
        self._blocks = blocks
        self._built = built
        self._out = bytearray(64)  # not yet written; the root's inode comes first
        self._flushed = 0
        self._stack = [_Open(b"")]
        self._path = b""
        self._nodes = 1
        self._scratch = scratch
        self._spilled = 0

    def add(self, records: Iterable[FileRecord]) -> None:
        """Hot: 1 us a file."""
        pack, items = _FILE.pack, self._stack[-1].items
        for path, size, mtime_s, device, block in records:
            parent, _, name = path.rpartition(b"/")
            if parent != self._path or len(items) >= _HELD or len(self._out) > _FLUSH:
                self._enter(parent)
                items = self._stack[-1].items
            items.append((name, self._flushed + len(self._out) >> 5, 0))
            self._nodes += 1
            ino = self._nodes & _NONE
            if not size:
                device, block = 0, _NONE  # noqa: PLW2901
            bits = _INDEXES | min((size - 1).bit_length() - 12, 31) if size > BLOCK_SIZE else _INDEXES
            self._out += pack(_CHUNKED, 0, 0o100444, 0, size, bits, ino, 0, 0, mtime_s, 0, 1, 0, device, block)
            if size > _SPAN:
                self._more_indexes(size, device, block)

    def add_folder(self, path: bytes) -> None:
        """A directory that may stay empty."""
        self._enter(path)

    def close(self) -> int:
        """Writes what is open and the superblock -> bytes of the image."""
        self._enter(b"")
        self._leave()
        self._out += bytes(-self._position() % BLOCK_SIZE)
        self._flush()
        os.pwrite(self._fd, self._superblock(), 0)
        return _META * BLOCK_SIZE + self._flushed

    def _more_indexes(self, size: int, device: int, block: int) -> None:
        del self._out[-24:]
        for index in range(block + (1 << 31), block + -(-size >> 12), 1 << 31):
            self._out += struct.pack("<HHI", 0, device, index)
        self._out += bytes(-self._position() % 32)

    def _enter(self, path: bytes) -> None:
        """Makes `path` the directory that files go into: leaves what is not above it, opens what is missing."""
        parts = path.split(b"/") if path else []
        same = 0
        while same < min(len(parts), len(self._stack) - 1) and parts[same] == self._stack[same + 1].name:
            same += 1
        while len(self._stack) - 1 > same:
            self._leave()
        for name in parts[same:]:
            self._nodes += 1
            self._stack.append(_Open(name))
        self._path = path
        if len(self._out) > _FLUSH:
            self._flush()
        if sum(len(folder.items) for folder in self._stack) >= _HELD:
            for folder in self._stack:
                self._spill_run(folder)

    def _leave(self) -> None:
        folder = self._stack.pop()
        root = not self._stack
        size = 27 + folder.spilled + sum(12 + len(item[0]) for item in folder.items)  # 27: '.' and '..'
        inline = not root and size <= BLOCK_SIZE - 64
        if not root and self._position() % BLOCK_SIZE + 64 + size * inline > BLOCK_SIZE:
            self._out += bytes(-self._position() % BLOCK_SIZE)  # inline data must not cross a block
        at = 0 if root else self._position()
        self._out += b"" if root else bytes(64)
        self._out += b"" if inline else bytes(-self._position() % BLOCK_SIZE)
        start = self._position()
        items = self._entries(folder, [(b".", at >> 5, _SELF), (b"..", 0, _PARENT)])
        links, length, dotdot = _Blocks(self, at >> 5).write(items)
        self._out += bytes(-length % (32 if inline else BLOCK_SIZE))
        layout, block = (_INLINE, 0) if inline else (_PLAIN, _META + start // BLOCK_SIZE)
        ino = (at >> 5) & _NONE
        self.patch(at, _FOLDER.pack(layout, 0, 0o40555, 0, length, block, ino, 0, 0, self._built, 0, links))
        if not root:
            self._stack[-1].items.append((folder.name, at >> 5, dotdot))

    def _entries(self, folder: _Open, dots: list[Item]) -> Iterator[Item]:
        """Sorted by name, each name once: a directory (third field above 0) beats a file."""
        if folder.runs and folder.items:
            self._spill_run(folder)
        runs = [self._load(run) for run in folder.runs] or [iter(sorted(folder.items))]
        last: Item | None = None
        for item in heapq.merge(dots, *runs, key=itemgetter(0)):
            if last and last[0] == item[0]:
                self._drop(folder, item[0])
                last = max(last, item, key=itemgetter(2))
                continue
            if last:
                yield last
            last = item
        if last:
            yield last

    def _drop(self, folder: _Open, name: bytes) -> None:
        self.dropped += 1
        if len(self.dropped_first) < _NAMED:
            names = [above.name for above in [*self._stack, folder][1:]]
            self.dropped_first.append(b"/".join((*names, name)))

    def _spill_run(self, folder: _Open) -> None:
        if not folder.items:
            return
        items, where = sorted(folder.items), []
        folder.spilled += sum(12 + len(item[0]) for item in items)
        for first in range(0, len(items), _BATCH):
            data = marshal.dumps(items[first : first + _BATCH])
            os.pwrite(self._scratch, data, self._spilled)
            where.append((self._spilled, len(data)))
            self._spilled += len(data)
        folder.runs.append(where)
        folder.items = []

    def _load(self, run: list[tuple[int, int]]) -> Iterator[Item]:
        for place, length in run:
            yield from marshal.loads(os.pread(self._scratch, length, place))  # noqa: S302  our own bytes

    def _superblock(self) -> bytes:
        head = bytearray(BLOCK_SIZE)
        blocks = _META + self._flushed // BLOCK_SIZE
        compat, incompat = 1 | 2, 4 | 8  # checksum, mtime; chunked files, device table
        _SUPER.pack_into(
            head, 1024, 0xE0F5E1E2, 0, compat, 12, 0, 0, self._nodes, self._built, 0, blocks, _META, 0,
            bytes(16), b"forebay", incompat, 0, len(self._blocks), 9,
        )  # fmt: skip
        for number, count in enumerate(self._blocks):
            _DEVICE.pack_into(head, 1152 + 128 * number, b"%d" % (number + 1), count, 0, 0)
        # seeded with ones and not inverted at the end, unlike the usual CRC32C
        struct.pack_into("<I", head, 1028, ~crc32c(bytes(head[1024:])) & _NONE)
        return bytes(head)

    def _position(self) -> int:
        """Of the next byte, counted from the first inode."""
        return self._flushed + len(self._out)

    def _flush(self) -> None:
        os.pwrite(self._fd, self._out, _META * BLOCK_SIZE + self._flushed)
        self._flushed += len(self._out)
        self._out = bytearray()

    # what _Blocks writes with

    def append(self, data: bytes) -> int:
        """-> where it went"""
        at = self._position()
        self._out += data
        return at

    def patch(self, at: int, data: bytes) -> None:
        """Changes bytes already appended; they never straddle what is flushed and what is not."""
        if at >= self._flushed:
            self._out[at - self._flushed : at - self._flushed + len(data)] = data
        else:
            os.pwrite(self._fd, data, _META * BLOCK_SIZE + at)

    def may_flush(self) -> None:
        if len(self._out) > _FLUSH:
            self._flush()


class _Blocks:
    """Writes the entry blocks of one directory."""

    def __init__(self, out: ImageWriter, node: int) -> None:
        self._out = out
        self._node = node
        self._batch: list[Item] = []
        self._used = 0
        self._dotdot = 0

    def write(self, items: Iterable[Item]) -> tuple[int, int, int]:
        """-> links, bytes, place of our `..`"""
        links, length = 2, 0
        for name, node, where in items:
            if where > 0:
                links += 1
                if self._node:
                    self._out.patch(where, self._node.to_bytes(8, "little"))
            if self._used + 12 + len(name) > BLOCK_SIZE:
                self._emit()
                self._out.append(bytes(BLOCK_SIZE - self._used))
                self._out.may_flush()
                length += BLOCK_SIZE
                self._batch, self._used = [], 0
            self._batch.append((name, node, where))
            self._used += 12 + len(name)
        self._emit()
        return links, length + self._used, self._dotdot

    def _emit(self) -> None:
        offset, table = 12 * len(self._batch), bytearray()
        parent = -1
        for index, (name, node, where) in enumerate(self._batch):
            parent = index if where == _PARENT else parent
            table += struct.pack("<QHBx", node, offset, FOLDER if where else FILE)
            offset += len(name)
        here = self._out.append(bytes(table) + b"".join(item[0] for item in self._batch))
        if parent >= 0:
            self._dotdot = here + 12 * parent
