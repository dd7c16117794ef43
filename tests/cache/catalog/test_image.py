"""The image against the file system's own checker and, as root, against the kernel."""

import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from forebay_cache.catalog.image import FileRecord, ImageWriter

InKernel = Callable[[Path, Sequence[Path], Callable[[bytes], None]], None]
BLOCKS = 4096
SEED = 20240


def awkward_paths() -> list[bytes]:
    names = [b"d%03d/f%05d.bin" % (n // 100, n) for n in range(1500)]
    names += [
        b"a/b",
        b"a-",
        b"a.txt",
        b"a-b/c",
        b"a-b.c/d",
        b"a/-x",
        b"a/!y",
        b"a/#/1",
        b"a/.hidden",
        b"a/\xff\xfe",
        b"a/ ",
    ]
    names += [b"n" * 255, b"m" * 255 + b"/" + b"o" * 255, b"deep/" + b"/".join(b"%d" % n for n in range(60)) + b"/leaf"]
    names += [b"long/" + bytes([65 + n % 26]) * 250 + b"%05d" % n for n in range(200)]
    names += [b"one/%d" % n for n in range(93)]  # a directory of just about one block
    names += [b"edge/%d" % size for size in (0, 1, 4095, 4096, 4097, 1 << 20)]
    return sorted(set(names))


def records() -> list[FileRecord]:
    source = random.Random(SEED)
    found, ends = [], [0] * 4
    for n, path in enumerate(awkward_paths()):
        size = int(path[5:]) if path.startswith(b"edge/") else source.randrange(9000)
        need = -(-size // 4096)
        number = n % 4
        if ends[number] + need > BLOCKS:
            size, need = 0, 0
        found.append(FileRecord(path, size, 1_600_000_000 + n, number + 1, ends[number]))
        ends[number] += need
    return found


def content(record: FileRecord) -> bytes:
    return random.Random(record.path).randbytes(record.size)


def written(path: Path, files: list[FileRecord]) -> ImageWriter:
    with open(path, "w+b") as file, tempfile.TemporaryFile() as scratch:
        writer = ImageWriter(file.fileno(), scratch.fileno(), [BLOCKS] * 4, 1_500_000_000)
        writer.add(files)
        assert writer.close() == os.fstat(file.fileno()).st_size
        return writer


def devices(folder: Path, files: list[FileRecord]) -> list[Path]:
    paths = [folder / f"device{n}" for n in range(4)]
    for path in paths:
        path.touch()
        os.truncate(path, BLOCKS * 4096)
    for record in files:
        with open(paths[record.device - 1], "r+b") as file:
            file.seek(record.block * 4096)
            file.write(content(record))
    return paths


def checked(image: Path, paths: list[Path]) -> None:
    if shutil.which("fsck.erofs") is None:
        pytest.skip("no fsck.erofs: install erofs-utils")
    subprocess.run(["fsck.erofs", *[f"--device={path}" for path in paths], str(image)], check=True, capture_output=True)


def test_the_checker_finds_no_fault(tmp_path: Path) -> None:
    files = records()
    written(tmp_path / "image", files)
    checked(tmp_path / "image", devices(tmp_path, files))


@pytest.mark.root
def test_the_kernel_shows_every_name_attribute_and_byte(tmp_path: Path, in_kernel: InKernel) -> None:
    files = records()
    written(tmp_path / "image", files)

    def check(root: bytes) -> None:
        for record in files:
            path = os.path.join(root, record.path)
            info = os.stat(path)
            seen = (info.st_size, int(info.st_mtime), info.st_mode, info.st_nlink)
            assert seen == (record.size, record.mtime_s, 0o100444, 1), record.path
            with open(path, "rb") as file:
                assert file.read() == content(record), record.path
        found = {os.path.relpath(os.path.join(d, f), root) for d, _, names in os.walk(root) for f in names}
        assert found == {record.path for record in files}
        with pytest.raises(OSError, match="Read-only file system"):
            (Path(os.fsdecode(root)) / "new").touch()

    in_kernel(tmp_path / "image", devices(tmp_path, files), check)


@pytest.mark.root
def test_a_directory_beats_a_file_of_its_name(tmp_path: Path, in_kernel: InKernel) -> None:
    files = [FileRecord(path, 0, 0, 1, 0) for path in (b"a", b"a-", b"a.b", b"a/b", b"a/b/c", b"z")]
    writer = written(tmp_path / "image", files)
    assert writer.dropped == 2

    def check(root: bytes) -> None:
        assert sorted(os.listdir(root)) == [b"a", b"a-", b"a.b", b"z"]
        assert os.listdir(root + b"/a/b") == [b"c"]

    in_kernel(tmp_path / "image", devices(tmp_path, []), check)


@pytest.mark.root
def test_a_file_larger_than_one_index_spans(tmp_path: Path, in_kernel: InKernel) -> None:
    """8 TiB is the largest run one index can stand for."""
    size, end = (8 << 40) + 5000, b"the last bytes"
    with open(tmp_path / "image", "w+b") as file, tempfile.TemporaryFile() as scratch:
        writer = ImageWriter(file.fileno(), scratch.fileno(), [(1 << 32) - 1, 256, 256, 256], 0)
        writer.add([FileRecord(b"a", 5, 0, 1, 0), FileRecord(b"b", size, 0, 1, 1), FileRecord(b"c", 5, 0, 1, 0)])
        writer.close()
    paths = [tmp_path / f"device{n}" for n in range(4)]
    for path in paths:
        path.write_bytes(bytes(1 << 20))
    try:
        os.truncate(paths[0], 9 << 40)
    except OSError:
        pytest.skip("the file system holds no sparse file of 9 TiB")
    with open(paths[0], "r+b") as device:
        device.write(b"small")
        device.seek(4096 + size - len(end))
        device.write(end)

    def check(root: bytes) -> None:
        assert os.path.getsize(root + b"/b") == size
        with open(root + b"/b", "rb") as file:
            file.seek(-len(end) - 3, os.SEEK_END)
            assert file.read() == b"\0\0\0" + end
        assert (Path(os.fsdecode(root)) / "c").read_bytes() == b"small"

    in_kernel(tmp_path / "image", paths, check)


def test_directories_with_more_entries_than_memory_holds_are_spilled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = records()
    written(tmp_path / "image", files)
    monkeypatch.setattr("forebay_cache.catalog.image._HELD", 20)
    monkeypatch.setattr("forebay_cache.catalog.image._BATCH", 3)
    monkeypatch.setattr("forebay_cache.catalog.image._FLUSH", 5000)
    written(tmp_path / "spilled", files)
    assert (tmp_path / "spilled").read_bytes() == (tmp_path / "image").read_bytes()
    checked(tmp_path / "spilled", devices(tmp_path, files))


def test_an_empty_image_is_an_empty_root(tmp_path: Path) -> None:
    written(tmp_path / "image", [])
    checked(tmp_path / "image", devices(tmp_path, []))
