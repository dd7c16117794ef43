"""What many catalog tests begin with."""

import ctypes
import os
import signal
import subprocess
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from forebay_cache.catalog.base import Entry
from forebay_cache.catalog.commit import LeafCommit, LeafName, Record
from forebay_cache.catalog.files import CatalogFiles
from forebay_cache.catalog.leaf import Draft, Leaf


@pytest.fixture
def files(tmp_path: Path) -> CatalogFiles:
    return CatalogFiles(str(tmp_path / "catalog"))


MakeCommit = Callable[[Sequence[Entry]], LeafCommit]


@pytest.fixture
def make_commit() -> MakeCommit:
    """Sorted entries -> a commit in memory, cut into leaves as a sync would."""

    def make(entries: Sequence[Entry]) -> LeafCommit:
        names: list[LeafName] = []
        leaves: list[Leaf] = []
        draft = Draft()

        def close() -> None:
            name, data = draft.encode()
            names.append(LeafName(name, draft.first.hex()))
            leaves.append(Leaf(name, data))

        for entry in entries:
            draft.add(entry)
            if draft.cut_behind(entry.key):
                close()
                draft = Draft()
        if draft.count:
            close()
        record = Record(tuple(names), (), None, 0, len(entries), sum(entry.size for entry in entries))
        return LeafCommit(record, leaves)

    return make


Check = Callable[[bytes], None]
"""Given the folder under which an image is mounted."""
InKernel = Callable[[Path, Sequence[Path], Check], None]


@pytest.fixture
def in_kernel(tmp_path: Path) -> InKernel:
    """Mounts (image, devices) for the time of a check, in a child with mounts of its own: they end with it, however it ends,
    and the loop devices with them."""
    if os.geteuid() != 0:
        pytest.skip("not root: the kernel cannot be asked to mount")
    target = tmp_path / "mounted"
    target.mkdir()

    def run(image: Path, devices: Sequence[Path], check: Check) -> None:
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            _checked(image, devices, target, check, writer)
        os.close(writer)
        with open(reader, encoding="utf-8") as complaints:
            said = complaints.read()
        assert os.waitpid(child, 0)[1] == 0, said

    return run


def _checked(image: Path, devices: Sequence[Path], target: Path, check: Check, complaints: int) -> None:
    """Never returns."""
    status = 1
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(1, signal.SIGKILL)  # not to outlive the tests
        assert not libc.unshare(0x00020000), os.strerror(ctypes.get_errno())  # CLONE_NEWNS
        _run("mount", "--make-rprivate", "/")
        loops: list[str] = []
        try:
            for path in (*devices, image):
                loops.append(_run("losetup", "-f", "--show", "-r", str(path)))
            options = "ro," + ",".join(f"device={loop}" for loop in loops[:-1])
            _run("mount", "-t", "erofs", "-o", options, loops[-1], str(target))
        finally:
            for loop in loops:
                _run("losetup", "-d", loop)  # at once where nothing is mounted, else when it no longer is
        check(os.fsencode(target))
        status = 0
    except BaseException:  # noqa: BLE001  a forked child tells all, and then ends
        os.write(complaints, traceback.format_exc().encode())
    finally:
        os._exit(status)


def _run(*command: str) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout.strip()
