"""Response headers of objects, beside the parts table: which a fill saw, for each part of a segment.

Two files a segment. `.sets` is appended to: sets of headers as JSON. `.index` has 16 bytes a part: where its set begins
(u64), its length and its CRC (u32 each); zeros while unknown. The set is written before the entry that names it, and neither
is made durable: after a crash of the machine either may be lost or torn. Then the CRC does not match, and the part counts as
unknown; the next fill records it again.
"""

import json
import os
import struct
import zlib
from collections.abc import Mapping

_ENTRY = struct.Struct("<QII")
LONGEST = 64 << 10
"""Bytes of one set; a longer one is not recorded (S3 allows 2 KiB of metadata)."""
REMEMBERED = 64
"""Sets just written, which most parts of a segment share."""


class HeaderRecords:
    """The records of one segment. One process writes. Raises OSError."""

    def __init__(self, path: str) -> None:
        self._sets = os.open(f"{path}.sets", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._index = os.open(f"{path}.index", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except BaseException:
            os.close(self._sets)
            raise
        self._written: dict[bytes, bytes] = {}

    def get(self, part: int) -> Mapping[str, str] | None:
        entry = os.pread(self._index, _ENTRY.size, part * _ENTRY.size)
        if len(entry) < _ENTRY.size:
            return None
        at, length, crc = _ENTRY.unpack(entry)
        if not 0 < length <= LONGEST:
            return None
        found = os.pread(self._sets, length, at)
        if len(found) < length or zlib.crc32(found) != crc:
            return None
        headers: Mapping[str, str] = json.loads(found)
        return headers

    def put(self, part: int, headers: Mapping[str, str]) -> None:
        found = json.dumps(dict(sorted(headers.items()))).encode()
        if len(found) > LONGEST:
            return
        entry = self._written.get(found) or self._append(found)
        os.pwrite(self._index, entry, part * _ENTRY.size)

    def close(self) -> None:
        os.close(self._sets)
        os.close(self._index)

    def _append(self, found: bytes) -> bytes:
        at = os.fstat(self._sets).st_size
        if os.pwrite(self._sets, found, at) < len(found):
            return bytes(_ENTRY.size)  # the disk is full: unknown
        entry = _ENTRY.pack(at, len(found), zlib.crc32(found))
        if len(self._written) >= REMEMBERED:
            self._written.clear()
        self._written[found] = entry
        return entry
