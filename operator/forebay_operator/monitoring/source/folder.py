"""A working folder, read under the same rules as a commit; also the shipped pack, which is a folder of this package."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from forebay_operator.monitoring.source.base import Limits, Tree, collect, path_fault, refuse

IGNORED = frozenset({".git", "__pycache__"})


def read_folder(folder: Path, limits: Limits = Limits()) -> Tree:
    """Every file below `folder`. Raises MonitoringRefused, and OSError where it cannot be read."""
    return collect(files_of(folder, "", limits), limits)


def files_of(folder: Path, above: str, limits: Limits) -> Iterator[tuple[str, bytes]]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path = above + entry.name
        if entry.name in IGNORED:
            continue
        if fault := path_fault(path, limits):
            raise refuse(path, "MAC002", f"the path {fault}")
        mode = entry.stat(follow_symlinks=False)
        if stat.S_ISDIR(mode.st_mode):
            yield from files_of(Path(entry.path), f"{path}/", limits)
        elif not stat.S_ISREG(mode.st_mode):
            raise refuse(path, "MAC001", "is a symbolic link or a device; only plain files are read")
        elif mode.st_size > limits.file_bytes:
            raise refuse(path, "MAC003", f"{mode.st_size:,} bytes; a file may have {limits.file_bytes:,}")
        else:
            yield path, Path(entry.path).read_bytes()
