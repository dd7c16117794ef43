"""What a prefetch is made of: runs of bytes in one chunk after another, with the files that they belong to. Streams: a
commit of millions of files is never in memory."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from forebay_cache.catalog.base import Commit, Entry
from forebay_cache.contract.prefetch import PrefetchRequest
from forebay_cache.model.errors import BadInput
from forebay_cache.model.ids import ChunkId
from forebay_cache.model.ranges import Span, spans

PAGE = 1000
UNIT_FILES = 256
"""Looked at between two turns of the event loop: a millisecond or two."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A file's bytes in one chunk. `ends`: the file's last."""

    key: bytes
    span: Span
    ends: bool


@dataclass(frozen=True, slots=True)
class Unit:
    """Neighbouring slices of one chunk, in the order of the commit."""

    slices: Sequence[Slice]

    @property
    def chunk(self) -> ChunkId:
        return self.slices[0].span.chunk

    @property
    def size(self) -> int:
        return sum(one.span.length for one in self.slices)


def chosen(commit: Commit, request: PrefetchRequest) -> Iterator[Entry]:
    """The files a request means, in byte order of keys. Raises BadInput, first of all, for a path that is not there."""
    if request.paths is None:
        yield from _below(commit, request.prefix.encode())
        return
    keys = sorted({path.encode() for path in request.paths})
    missing = [key for key in keys if commit.find(key) is None]
    if missing:
        first = missing[0].decode()
        raise BadInput(
            f"paths: commit {commit.id[:12]} has no file {first!r}, nor {len(missing) - 1} more of those given"
        )
    for key in keys:
        if entry := commit.find(key):
            yield entry


def units(entries: Iterable[Entry], mine: Callable[[ChunkId], bool]) -> Iterator[Unit]:
    """`mine`: whether this member is to hold a chunk."""
    slices: list[Slice] = []
    for one in _slices(entries):
        if slices and (one.span.chunk != slices[0].span.chunk or len(slices) >= UNIT_FILES):
            yield Unit(slices)
            slices = []
        if mine(one.span.chunk):
            slices.append(one)
    if slices:
        yield Unit(slices)


def _below(commit: Commit, prefix: bytes) -> Iterator[Entry]:
    after: bytes | None = b""
    while after is not None:
        page = commit.page(prefix, b"", after, PAGE)
        yield from page.entries
        after = page.next


def _slices(entries: Iterable[Entry]) -> Iterator[Slice]:
    for entry in entries:
        if not entry.size:
            continue  # its bytes are everywhere
        left = entry.size
        for span in spans(entry.extent):
            left -= span.length
            yield Slice(entry.key, span, ends=left == 0)
