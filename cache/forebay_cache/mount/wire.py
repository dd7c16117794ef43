"""FUSE messages of a tree that holds nothing but data devices: one directory with the files 0, 1, ... Pure.

READ is not answered here; it is what the worker is for. Everything else is metadata of a few immutable files, so nothing
is looked up anywhere and FORGET needs no book-keeping: node id = device number + FIRST_NODE.

Source: Linux include/uapi/linux/fuse.h, protocol 7.36 and later (older minors share these layouts since 7.23).
"""

import errno
import stat
import struct
from collections.abc import Sequence
from dataclasses import dataclass

IN = struct.Struct("<IIQQIIIHH")
"""length, opcode, unique, node, uid, gid, pid, extension length, padding."""
OUT = struct.Struct("<IiQ")
"""length, negative errno, unique."""
READ_IN = struct.Struct("<QQI")
"""file handle, offset, size; what follows is of no use here."""
_INIT_IN = struct.Struct("<IIII")
_INIT_OUT = struct.Struct("<IIIIHHIIHHI28x")
_ENTRY = struct.Struct("<QQQQII")
_ATTR_HEAD = struct.Struct("<QII")
_ATTR = struct.Struct("<6Q10I")
_OPEN_OUT = struct.Struct("<QIi")
_OPEN_IN = struct.Struct("<II")
_STATFS = struct.Struct("<5QIIII24x")

LOOKUP, FORGET, GETATTR, OPEN, READ, STATFS, RELEASE, INIT, OPENDIR, RELEASEDIR = 1, 2, 3, 14, 15, 17, 18, 26, 27, 29
INTERRUPT, DESTROY, BATCH_FORGET = 36, 38, 42

READ_LIMIT = 1 << 20
"""Bytes of the longest READ."""
REQUEST_LIMIT = 12288
"""A read of /dev/fuse must offer at least 8 KiB."""
NOTIFY_RESEND = OUT.pack(OUT.size, 7, 0)
"""Written to /dev/fuse: requests that were read and not answered come again."""

_ROOT, FIRST_NODE = 1, 2
_BACKGROUND = 1024
_YEAR_S = 365 * 86400
_DIRECT_IO = 1
_WRITING = 3
_ASYNC_READ, _ASYNC_DIO, _MAX_PAGES = 1 << 0, 1 << 15, 1 << 22
_HAS_RESEND = 1 << 39
_WANTED = (
    _ASYNC_READ | 1 << 18 | _ASYNC_DIO | _MAX_PAGES | 1 << 30 | _HAS_RESEND
)  # 18: parallel look-ups, 30: more flags
_LEAST_MINOR = 31
"""FUSE_MAX_PAGES came with 7.28, Linux 4.20; 7.31 is Linux 5.4."""


@dataclass(frozen=True, slots=True)
class Request:
    opcode: int
    unique: int
    node: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Agreement:
    """The answer to INIT, and whether the kernel can send requests again that a dead worker had read."""

    reply: bytes
    resend: bool


def parse(message: bytes | bytearray | memoryview) -> Request:
    """Raises ValueError for what is no request."""
    if len(message) < IN.size:
        raise ValueError(f"a FUSE request has at least {IN.size} bytes, not {len(message)}")
    length, opcode, unique, node, *_ = IN.unpack_from(message)
    if length != len(message):
        raise ValueError(f"a FUSE request claims {length} bytes and has {len(message)}")
    return Request(opcode, unique, node, bytes(message[IN.size :]))


def agree(request: Request) -> Agreement:
    """Answers INIT. Raises ValueError where the kernel's FUSE is too old or the message is none."""
    if request.opcode != INIT or len(request.body) < _INIT_IN.size:
        raise ValueError("the first FUSE request must be INIT")
    major, minor, read_ahead, flags = _INIT_IN.unpack_from(request.body)
    if major != 7 or minor < _LEAST_MINOR:
        raise ValueError(f"the kernel speaks FUSE {major}.{minor}; 7.{_LEAST_MINOR} (Linux 5.4) is the least")
    if len(request.body) >= _INIT_IN.size + 4:
        flags |= int.from_bytes(request.body[_INIT_IN.size : _INIT_IN.size + 4], "little") << 32
    agreed = flags & _WANTED
    if not agreed & _ASYNC_DIO or not agreed & _MAX_PAGES:
        raise ValueError("the kernel's FUSE lacks asynchronous direct I/O or large requests")
    pages = READ_LIMIT // 4096
    head = (7, min(minor, 41), read_ahead, agreed & 0xFFFFFFFF, _BACKGROUND, _BACKGROUND * 3 // 4, 4096, 1, pages, 0)
    return Agreement(reply(request.unique, _INIT_OUT.pack(*head, agreed >> 32)), bool(agreed & _HAS_RESEND))


def reply(unique: int, body: bytes = b"") -> bytes:
    return OUT.pack(OUT.size + len(body), 0, unique) + body


def refusal(unique: int, number: int) -> bytes:
    """`number` is an errno."""
    return OUT.pack(OUT.size, -number, unique)


class DeviceTree:
    """Answers for files of these sizes."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self._sizes = sizes
        self._answers = {
            LOOKUP: self._lookup,
            GETATTR: self._attributes,
            OPEN: self._open,
            OPENDIR: self._done,
            RELEASE: self._done,
            RELEASEDIR: self._done,
            DESTROY: self._done,
            STATFS: self._statfs,
        }

    def answer(self, request: Request) -> bytes | None:
        """The reply to anything but READ; None where the protocol has none."""
        if request.opcode in (FORGET, BATCH_FORGET, INTERRUPT):
            return None
        found = self._answers.get(request.opcode)
        return found(request) if found else refusal(request.unique, errno.ENOSYS)

    def _lookup(self, request: Request) -> bytes:
        name = request.body.partition(b"\0")[0]
        number = int(name) if name.isdigit() and len(name) <= 4 else -1
        if request.node != _ROOT or not 0 <= number < len(self._sizes) or name != b"%d" % number:
            return refusal(request.unique, errno.ENOENT)
        node = number + FIRST_NODE
        return reply(request.unique, _ENTRY.pack(node, 0, _YEAR_S, _YEAR_S, 0, 0) + self._attr(node))

    def _attributes(self, request: Request) -> bytes:
        if not self._known(request.node):
            return refusal(request.unique, errno.ENOENT)
        return reply(request.unique, _ATTR_HEAD.pack(_YEAR_S, 0, 0) + self._attr(request.node))

    def _open(self, request: Request) -> bytes:
        if len(request.body) < _OPEN_IN.size:
            return refusal(request.unique, errno.EINVAL)
        if _OPEN_IN.unpack_from(request.body)[0] & _WRITING:
            return refusal(request.unique, errno.EROFS)
        if request.node == _ROOT or not self._known(request.node):
            return refusal(request.unique, errno.ENOENT)
        return reply(request.unique, _OPEN_OUT.pack(0, _DIRECT_IO, 0))

    def _statfs(self, request: Request) -> bytes:
        blocks = sum(self._sizes) // 4096
        return reply(request.unique, _STATFS.pack(blocks, 0, 0, len(self._sizes), 0, 4096, 255, 4096, 0))

    def _done(self, request: Request) -> bytes:
        return reply(request.unique)

    def _known(self, node: int) -> bool:
        return _ROOT <= node < FIRST_NODE + len(self._sizes)

    def _attr(self, node: int) -> bytes:
        size = self._sizes[node - FIRST_NODE] if node != _ROOT else 0
        mode = stat.S_IFREG | 0o400 if node != _ROOT else stat.S_IFDIR | 0o500
        return _ATTR.pack(node, size, size // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)
