"""What every way of reading from another member can do. Conformance checks: tests/conformance/transfer.

Each span of an ask is answered by its bytes up to its end, in order, or ended by one other answer; spans in any order.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from forebay_cache.model.ids import MemberId
from forebay_cache.model.ranges import Span

SPANS_LIMIT = 256
"""Spans of one ask."""
ASK_BYTES_LIMIT = 8 << 20
"""Bytes of one ask, all spans together."""
RUN_LIMIT = 1 << 20
"""Bytes that come at once."""
FILE_ID_SIZE = 32


class Reason(IntEnum):
    """Why a member refuses a span."""

    FAILED = 1
    """Something there is broken; the message says what."""
    GONE = 2
    """The origin changed the object: nobody can bring these bytes."""
    THROTTLED = 3
    """The origin asks for fewer requests."""
    ORIGIN = 4
    """The origin failed."""
    UNKNOWN = 5
    """The segment is not known there."""
    DEADLINE = 6
    """Not in time."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Spans of whole blocks. `epoch`: the membership the asker goes by. `store_only`: answer from your own store, ask neither
    an origin nor another member."""

    spans: tuple[Span, ...]
    epoch: int
    store_only: bool = False
    deadline_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Came:
    """Bytes of span `index`, from `start` of its chunk; held against their checksums. Valid until the next step."""

    index: int
    start: int
    data: memoryview


@dataclass(frozen=True, slots=True)
class Absent:
    """It is not there, and that member will not bring it."""

    index: int


@dataclass(frozen=True, slots=True)
class Busy:
    """Too much is under way there, or towards there."""

    index: int
    retry_after_s: float


@dataclass(frozen=True, slots=True)
class WrongEpoch:
    """That member does not own the chunk by its own membership, of `epoch`."""

    index: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Refused:
    index: int
    reason: Reason
    message: str


Other = Absent | Busy | WrongEpoch | Refused
Answer = Came | Other


class Folder(IntEnum):
    """Kinds of catalog files that members give each other; what else a catalog has is a function of these."""

    COMMITS = 1
    LEAVES = 2
    PARTS = 3
    ANCESTORS = 4


FILE_LIMITS = {Folder.COMMITS: 64 << 20, Folder.LEAVES: 4 << 30, Folder.PARTS: 256 << 20, Folder.ANCESTORS: 256 << 20}
"""Bytes of one file."""


@dataclass(frozen=True, slots=True)
class FileName:
    """A catalog file. `id`: FILE_ID_SIZE bytes, never a text, so that no name can lead to another place."""

    folder: Folder
    id: bytes


@dataclass(frozen=True, slots=True)
class FileBytes:
    """Bytes of a catalog file that has `size` of them, from `start`, in order; held against nothing: that is the asker's, who
    knows what a file is named by. Valid until the next step."""

    start: int
    size: int
    data: memoryview


FileAnswer = FileBytes | Other


@dataclass(frozen=True, slots=True)
class Run:
    """Bytes [start, stop) of a chunk, whole blocks, at those offsets of `fd`; valid until the next step. `sums_at`: where in the
    file the chunk's checksums begin, CRC32C of each block, u32 little endian; -1: it has none."""

    index: int
    fd: int
    start: int
    stop: int
    sums_at: int = -1


class Transfer(Protocol):
    """Asks other members."""

    def read(self, member: MemberId, ask: Ask) -> AsyncGenerator[Answer, None]:
        """Answers as they come. Close it (`contextlib.aclosing`): leaving early tells the member to stop.

        Raises MemberUnreachable (no such member, refused, lost, silent for too long), MemberBadFrame (broken frames or
        wrong checksums), DeadlineExceeded. What came before is right."""
        ...

    async def aclose(self) -> None: ...


class FileTransfer(Protocol):
    """Asks other members for catalog files."""

    def read_file(self, member: MemberId, name: FileName, deadline_s: float) -> AsyncGenerator[FileAnswer, None]:
        """All of the file's bytes, or one other answer (its `index` is 0) in place of the rest. Close it, as `read`; raises
        what that does."""
        ...


class FileSource(Protocol):
    """Gives catalog files to other members."""

    def open(self, name: FileName) -> int:
        """A descriptor of a whole file, to be closed by the caller. Blocking. Raises NotFound, StoreFailed."""
        ...


class Source(Protocol):
    """Answers other members."""

    def answer(self, asker: MemberId, ask: Ask) -> AsyncGenerator[Run | Other, None]:
        """Closed early when the asker is gone or its deadline has passed."""
        ...
