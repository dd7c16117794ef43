import mmap
import os
from pathlib import Path

import pytest

from forebay_cache.model.ids import SegmentId
from forebay_cache.mount.held import IDLE_S, ChunkFile, HeldChunks


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def key(number: int) -> tuple[SegmentId, int]:
    return SegmentId(b"s" * 32), number


def opened(folder: Path, number: int) -> int:
    path = folder / str(number)
    path.write_bytes(bytes([number]) * 8192)
    return os.open(path, os.O_RDONLY)


def is_open(fd: int) -> bool:
    return os.path.exists(f"/proc/self/fd/{fd}")


def test_the_limit_holds_and_the_idlest_goes(tmp_path: Path) -> None:
    clock = Clock()
    held = HeldChunks(8, clock)
    for number in range(9):
        clock.time = number
        if number == 8:
            first = held.get(key(0))
            assert first is not None
            first.used = clock.time
        held.put(key(number), opened(tmp_path, number))
    assert len(held) == 8
    assert held.get(key(0)) is not None
    assert held.get(key(1)) is None
    held.close()


def test_a_second_descriptor_of_one_chunk_is_closed(tmp_path: Path) -> None:
    held = HeldChunks(8, Clock())
    first = held.put(key(1), opened(tmp_path, 1))
    again = opened(tmp_path, 1)
    assert held.put(key(1), again) is first
    assert not is_open(again)
    held.close()
    assert not is_open(first.file.fd)


def test_idle_and_evicted_chunks_are_dropped(tmp_path: Path) -> None:
    clock = Clock()
    held = HeldChunks(8, clock)
    for number in range(3):
        held.put(key(number), opened(tmp_path, number))
    clock.time = IDLE_S + 1
    for number in (1, 2):
        one = held.get(key(number))
        assert one is not None
        one.used = clock.time
    (tmp_path / "2").unlink()
    held.sweep()
    assert [held.get(key(number)) is not None for number in range(3)] == [False, True, False]
    held.close()


def test_reads_are_told_once_also_of_what_was_dropped(tmp_path: Path) -> None:
    held = HeldChunks(8, Clock())
    for number in range(3):
        one = held.put(key(number), opened(tmp_path, number))
        one.reads, one.bytes = number, number * 100
    held.drop(key(2))
    assert sorted(held.reads()) == [(key(1), 1, 100), (key(2), 2, 200)]
    assert held.reads() == []
    held.close()


def test_a_chunk_file_is_read_in_whatever_way_the_file_system_has(tmp_path: Path) -> None:
    view = memoryview(mmap.mmap(-1, 4096))
    for folder in (tmp_path, Path("/dev/shm")):
        path = folder / f"forebay-held-{os.getpid()}"
        path.write_bytes(b"a" * 4096 + b"b" * 4096)
        fd = os.open(path, os.O_RDONLY)
        path.unlink()
        file = ChunkFile(fd)
        try:
            file.read(view, 4096)
            assert bytes(view) == b"b" * 4096
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            file.read(view, 0)
            assert bytes(view) == b"a" * 4096
            file.read(view[:100], 4096)
            assert bytes(view[:100]) == b"b" * 100
            with pytest.raises(OSError, match="4096"):
                file.read(view, 8192)
        finally:
            file.close()
        assert not is_open(fd)
