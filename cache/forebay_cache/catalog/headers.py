"""Response headers of objects, beside the parts table: which a fill saw, for each part of a segment.

Two files a segment. `.sets` holds each distinct set of headers once, a JSON line with its CRC; `.index` has 8 bytes a part:
number of its set (from 1) and that line's CRC, 0 while unknown. Append the set before the index entry, because an entry
must never name a line that is not there. After a crash of the machine a line may be lost and its number given again: the
CRC in the entry tells, and the entry counts as unknown.
"""

import json
import mmap
import os
import struct
import zlib
from collections.abc import Mapping

_ENTRY = struct.Struct("<II")


class HeaderRecords:
    """The records of one segment of `parts` parts. One process writes."""

    def __init__(self, path: str, parts: int) -> None:
        self._sets_fd = os.open(f"{path}.sets", os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fd = os.open(f"{path}.index", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(fd, parts * _ENTRY.size)
            self._index = mmap.mmap(fd, parts * _ENTRY.size)
        finally:
            os.close(fd)
        self._sets: list[tuple[int, Mapping[str, str] | None]] = _read(self._sets_fd)
        self._numbers = {crc: number for number, (crc, found) in enumerate(self._sets, 1) if found is not None}

    def get(self, part: int) -> Mapping[str, str] | None:
        number: int
        number, crc = _ENTRY.unpack_from(self._index, part * _ENTRY.size)
        if not 0 < number <= len(self._sets) or self._sets[number - 1][0] != crc:
            return None
        return self._sets[number - 1][1]

    def put(self, part: int, headers: Mapping[str, str]) -> None:
        line = json.dumps(dict(sorted(headers.items()))).encode()
        crc = zlib.crc32(line)
        number = self._numbers.get(crc)
        if number is None or self._sets[number - 1][1] != headers:
            os.write(self._sets_fd, b"%08x %s\n" % (crc, line))
            self._sets.append((crc, dict(headers)))
            number = self._numbers[crc] = len(self._sets)
        _ENTRY.pack_into(self._index, part * _ENTRY.size, number, crc)

    def close(self) -> None:
        os.close(self._sets_fd)
        self._index.close()


def _read(fd: int) -> list[tuple[int, Mapping[str, str] | None]]:
    """Lines as (CRC, headers); a torn one keeps its number and is None. A torn last line is ended first."""
    data = os.pread(fd, os.fstat(fd).st_size, 0)
    if data and not data.endswith(b"\n"):
        os.write(fd, b"\n")
    found: list[tuple[int, Mapping[str, str] | None]] = []
    for line in data.splitlines():
        crc, body = line[:8], line[9:]
        good = crc == b"%08x" % zlib.crc32(body)
        found.append((zlib.crc32(body), json.loads(body) if good else None))
    return found
