"""The frames that members exchange: what they look like, and what is refused. Pure.

Little endian. Every frame is HEADER, then `length` bytes. One ask is under way on a connection at a time. An answer's frames
come in any order of spans, the bytes of a span in order; the ask is done when every span has its bytes or another answer.

ASK          ASK, then SPAN for each span
BYTES        BYTES, then CRC32C of each block (u32), then the bytes
ABSENT       INDEX            BUSY     INDEX, milliseconds u32
WRONG_EPOCH  INDEX, u64       REFUSED  INDEX, Reason u16, message
WAIT         nothing: the member is at it; sent while there is nothing else to send

Since version 2 of the greeting, of catalog files:
ASK_FILE     Folder u16, milliseconds u32, id
FILE         start u64, size of the whole file u64, then the bytes; in order up to the file's end, or another answer

A reader refuses lengths before it makes room for them.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass

from forebay_cache.model.errors import MemberBadFrame
from forebay_cache.model.ids import BLOCK_SIZE, CHUNK_SIZE, ChunkId, SegmentId
from forebay_cache.model.ranges import Span
from forebay_cache.transfer.base import (
    ASK_BYTES_LIMIT,
    FILE_ID_SIZE,
    FILE_LIMITS,
    RUN_LIMIT,
    SPANS_LIMIT,
    Absent,
    Ask,
    Busy,
    FileBytes,
    FileName,
    Folder,
    Other,
    Reason,
    Refused,
    WrongEpoch,
)
from forebay_cache.transfer.sums import SUM_SIZE

Buffer = bytes | bytearray | memoryview
VERSION = 1
HEADER = struct.Struct("<HHI")  # kind, version, length of what follows
BYTES = struct.Struct("<HxxII")  # index, start, stop
INDEX = struct.Struct("<H")
_ASK = struct.Struct("<QIHH")  # epoch, deadline in ms, flags, spans
_SPAN = struct.Struct("<32sIII")  # segment, chunk number, start, stop
_BUSY = struct.Struct("<HxxI")
_EPOCH = struct.Struct("<HxxxxxxQ")
_REFUSED = struct.Struct("<HH")
_ASK_FILE = struct.Struct(f"<HxxI{FILE_ID_SIZE}s")
_FILE = struct.Struct("<QQ")

K_ASK, K_BYTES, K_ABSENT, K_BUSY, K_WRONG_EPOCH, K_REFUSED, K_WAIT = 1, 2, 3, 4, 5, 6, 7
K_ASK_FILE, K_FILE = 8, 9
FILES_VERSION = 2
"""Of the greeting, from which on members know the last two."""
_STORE_ONLY = 1
MESSAGE_LIMIT = 512
ASK_LIMIT = _ASK.size + SPANS_LIMIT * _SPAN.size
BYTES_LIMIT = BYTES.size + RUN_LIMIT // BLOCK_SIZE * SUM_SIZE + RUN_LIMIT
_LIMITS = {
    K_ASK: ASK_LIMIT,
    K_BYTES: BYTES_LIMIT,
    K_ABSENT: INDEX.size,
    K_BUSY: _BUSY.size,
    K_WRONG_EPOCH: _EPOCH.size,
    K_REFUSED: _REFUSED.size + MESSAGE_LIMIT,
    K_WAIT: 0,
    K_ASK_FILE: _ASK_FILE.size,
    K_FILE: _FILE.size + RUN_LIMIT,
}
WAIT = HEADER.pack(K_WAIT, VERSION, 0)
_SECOND = 1000
_REASONS = {int(reason): reason for reason in Reason}
_FOLDERS = {int(folder): folder for folder in Folder}


@dataclass(frozen=True, slots=True)
class Place:
    """What a BYTES frame brings: span `index`, bytes [start, stop) of its chunk."""

    index: int
    start: int
    stop: int

    @property
    def sums_size(self) -> int:
        return (self.stop - self.start) // BLOCK_SIZE * SUM_SIZE


def frame(kind: int, body: bytes = b"") -> bytes:
    return HEADER.pack(kind, VERSION, len(body)) + body


def take_header(data: Buffer) -> tuple[int, int]:
    """Eight bytes -> kind, and length of what follows. Raises MemberBadFrame."""
    kind, version, length = HEADER.unpack(data)
    if version != VERSION or kind not in _LIMITS or length > _LIMITS[kind]:
        raise MemberBadFrame(f"frame of kind {kind}, version {version}, {length} bytes")
    return kind, length


def put_ask(ask: Ask) -> bytes:
    """Raises ValueError for an ask beyond the limits."""
    if wrong := _wrong(ask.spans):
        raise ValueError(wrong)
    flags = _STORE_ONLY if ask.store_only else 0
    head = _ASK.pack(ask.epoch, _ms(ask.deadline_s), flags, len(ask.spans))
    spans = (_SPAN.pack(s.chunk.segment, s.chunk.number, s.start, s.stop) for s in ask.spans)
    return frame(K_ASK, head + b"".join(spans))


def take_ask(body: Buffer) -> Ask:
    """What follows the header of an ASK. Raises MemberBadFrame."""
    try:
        epoch, deadline_ms, flags, count = _ASK.unpack_from(body)
        spans = tuple(
            Span(ChunkId(SegmentId(segment), number), start, stop)
            for segment, number, start, stop in _SPAN.iter_unpack(body[_ASK.size :])
        )
    except struct.error as exc:
        raise MemberBadFrame(f"an ask of {len(body)} bytes") from exc
    if wrong := _wrong(spans):
        raise MemberBadFrame(wrong)
    if count != len(spans):
        raise MemberBadFrame(f"an ask of {count} spans holds {len(spans)}")
    return Ask(spans, epoch, bool(flags & _STORE_ONLY), deadline_ms / _SECOND)


def put_bytes(place: Place, sums: bytes) -> bytes:
    """All of a BYTES frame but its bytes."""
    length = BYTES.size + len(sums) + place.stop - place.start
    return HEADER.pack(K_BYTES, VERSION, length) + BYTES.pack(place.index, place.start, place.stop) + sums


def take_place(body: Buffer, length: int) -> Place:
    """The beginning of what follows the header of a BYTES frame. Raises MemberBadFrame."""
    if len(body) < BYTES.size:
        raise MemberBadFrame(f"a frame of bytes with {length} bytes")
    place = Place(*BYTES.unpack_from(body))
    wrong = _misplaced(place.start, place.stop) or place.stop - place.start > RUN_LIMIT
    if wrong or length != BYTES.size + place.sums_size + place.stop - place.start:
        raise MemberBadFrame(f"a frame of {length} bytes for [{place.start}, {place.stop})")
    return place


def put_ask_file(name: FileName, deadline_s: float) -> bytes:
    """Raises ValueError for a name that is none."""
    if len(name.id) != FILE_ID_SIZE:
        raise ValueError(f"an id of {len(name.id)} bytes; it takes {FILE_ID_SIZE}")
    return frame(K_ASK_FILE, _ASK_FILE.pack(name.folder, round(deadline_s * _SECOND), name.id))


def take_ask_file(body: Buffer) -> tuple[FileName, float]:
    """What follows the header of an ASK_FILE -> the file, and the seconds there are for it. Raises MemberBadFrame."""
    if len(body) != _ASK_FILE.size:
        raise MemberBadFrame(f"an ask for a file of {len(body)} bytes")
    number, deadline_ms, name = _ASK_FILE.unpack(body)
    folder = _FOLDERS.get(number)
    if folder is None:
        raise MemberBadFrame(f"an ask for a file of folder {number}, which is none")
    return FileName(folder, name), deadline_ms / _SECOND


def put_file(start: int, stop: int, size: int) -> bytes:
    """All of a FILE frame but its bytes."""
    return HEADER.pack(K_FILE, VERSION, _FILE.size + stop - start) + _FILE.pack(start, size)


def take_file(folder: Folder, body: memoryview) -> FileBytes:
    """What follows the header of a FILE. Raises MemberBadFrame."""
    if len(body) <= _FILE.size:
        raise MemberBadFrame(f"a frame of a file with {len(body)} bytes")
    start, size = _FILE.unpack_from(body)
    found = FileBytes(start, size, body[_FILE.size :])
    if size > FILE_LIMITS[folder] or start + len(found.data) > size:
        raise MemberBadFrame(f"{len(found.data)} bytes at {start} of a file of {size} in {folder.name.lower()}")
    return found


def put_other(answer: Other) -> bytes:
    match answer:
        case Absent(index):
            return frame(K_ABSENT, INDEX.pack(index))
        case Busy(index, retry_after_s):
            return frame(K_BUSY, _BUSY.pack(index, _ms(retry_after_s)))
        case WrongEpoch(index, epoch):
            return frame(K_WRONG_EPOCH, _EPOCH.pack(index, epoch))
        case Refused(index, reason, message):
            text = message.encode(errors="replace")[:MESSAGE_LIMIT]
            return frame(K_REFUSED, _REFUSED.pack(index, reason) + text)


def take_other(kind: int, body: Buffer) -> Other:
    """What follows the header of any other answer. Raises MemberBadFrame."""
    take = _OTHERS.get(kind)
    if take is None:
        raise MemberBadFrame(f"frame of kind {kind} where an answer is due")
    try:
        return take(bytes(body))
    except (struct.error, ValueError) as exc:
        raise MemberBadFrame(f"frame of kind {kind} with {len(body)} bytes: {exc}") from exc


def _take_absent(body: bytes) -> Absent:
    return Absent(*INDEX.unpack(body))


def _take_busy(body: bytes) -> Busy:
    index, retry_after_ms = _BUSY.unpack(body)
    return Busy(index, retry_after_ms / _SECOND)


def _take_wrong_epoch(body: bytes) -> WrongEpoch:
    return WrongEpoch(*_EPOCH.unpack(body))


def _take_refused(body: bytes) -> Refused:
    index, reason = _REFUSED.unpack_from(body)
    known = _REASONS.get(reason, Reason.FAILED)  # of a newer version
    return Refused(index, known, body[_REFUSED.size :].decode(errors="replace"))


_OTHERS: dict[int, Callable[[bytes], Other]] = {
    K_ABSENT: _take_absent,
    K_BUSY: _take_busy,
    K_WRONG_EPOCH: _take_wrong_epoch,
    K_REFUSED: _take_refused,
}


def _ms(seconds: float) -> int:
    return min(max(0, round(seconds * _SECOND)), 2**32 - 1)


def _wrong(spans: tuple[Span, ...]) -> str:
    """What is wrong with an ask for these; "": nothing."""
    if not 0 < len(spans) <= SPANS_LIMIT:
        return f"an ask of {len(spans)} spans; 1 to {SPANS_LIMIT} are allowed"
    for span in spans:
        if _misplaced(span.start, span.stop):
            return f"[{span.start}, {span.stop}) are not whole blocks of a chunk"
    size = sum(span.length for span in spans)
    return f"an ask of {size} bytes; {ASK_BYTES_LIMIT} are allowed" if size > ASK_BYTES_LIMIT else ""


def _misplaced(start: int, stop: int) -> bool:
    return not 0 <= start < stop <= CHUNK_SIZE or bool(start % BLOCK_SIZE or stop % BLOCK_SIZE)
