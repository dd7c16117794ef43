"""Keys that POSIX cannot hold are left out of the image, counted and named."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from forebay_cache.catalog.image import ImageWriter
from forebay_cache.catalog.leaf import Row
from forebay_cache.catalog.mountable import FIRST, LeftOut, mountable, write_tree
from forebay_cache.model.ids import SegmentId

NOT = [
    b"/",
    b"/a",
    b"//",
    b"a//",
    b"a//b",
    b".",
    b"..",
    b"./a",
    b"a/.",
    b"a/..",
    b"a/../b",
    b"a/./b",
    b"a\0b",
    b"x" * 256,
]
NOT += [b"a/" + b"x" * 256, b"x" * 256 + b"/a", b"../a", b"a/.."]
HELD = [b"a", b"a/", b"a/b", b".a", b"a/.b", b"..a", b"a/...", b"x" * 255, b"\xff/\xfe", b"a\nb", b" "]
HELD += [b"x" * 255 + b"/" + b"y" * 255]


@pytest.mark.parametrize("key", NOT)
def test_these_cannot_be_mounted(key: bytes) -> None:
    assert not mountable(key)


@pytest.mark.parametrize("key", HELD)
def test_these_can(key: bytes) -> None:
    assert mountable(key)


def tree(path: Path, keys: Sequence[bytes], size: int = 0) -> tuple[LeftOut, ImageWriter]:
    rows: list[Row] = [(key, size, -5, SegmentId(bytes(32)), 0) for key in sorted(keys)]
    with open(path, "w+b") as file, tempfile.TemporaryFile() as scratch:
        writer = ImageWriter(file.fileno(), scratch.fileno(), [256] * 4, 0)
        left_out = write_tree(writer, rows, {})
        writer.close()
        return left_out, writer


def test_the_image_holds_the_others(tmp_path: Path) -> None:
    keys = {*NOT, *HELD, b"d/e/"} - {b"a", b"x" * 255}  # a directory beats these
    left_out, writer = tree(tmp_path / "image", list(keys))
    assert left_out.count == len(set(NOT))
    assert left_out.first == [key.decode(errors="replace") for key in sorted(set(NOT))[:FIRST]]
    assert writer.dropped == 0
    if shutil.which("fsck.erofs") is None:
        pytest.skip("no fsck.erofs: install erofs-utils")
    devices = [tmp_path / f"device{n}" for n in range(4)]
    for path in devices:
        path.write_bytes(bytes(1 << 20))
    options = [f"--extract={tmp_path / 'tree'}", *(f"--device={path}" for path in devices)]
    subprocess.run(["fsck.erofs", *options, str(tmp_path / "image")], check=True, capture_output=True)
    top = os.fsencode(tmp_path / "tree")
    found = [
        os.path.relpath(os.path.join(d, name), top) for d, folders, names in os.walk(top) for name in (*folders, *names)
    ]
    assert {key.rstrip(b"/") for key in keys - set(NOT)} <= set(found)
    assert len(found) == len(
        {path[:at] for key in keys - set(NOT) for path in [key.rstrip(b"/") + b"/"] for at in slashes(path)}
    )


def slashes(path: bytes) -> list[int]:
    return [at for at, byte in enumerate(path) if byte == 0x2F]


def test_a_file_beside_a_directory_of_its_name_is_named(tmp_path: Path) -> None:
    _, writer = tree(tmp_path / "image", [b"x/y", b"x/y/z", b"top", b"top/below"])
    assert writer.dropped == 2
    assert sorted(writer.dropped_first) == [b"top", b"x/y"]


def test_a_folder_marker_with_bytes_loses_them_and_is_named(tmp_path: Path) -> None:
    left_out, _ = tree(tmp_path / "image", [b"a/", b"b"], size=5)
    assert (left_out.count, left_out.first) == (1, ["a/"])
    assert os.path.getsize(tmp_path / "image") % 4096 == 0
