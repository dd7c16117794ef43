"""A member's end of the node socket, spoken by hand; and whether this machine can mount."""

import fcntl
import os
import socket
import struct
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from forebay_cache.contract import wire
from forebay_cache.mount.support import missing_part

LOOP_GET_STATUS64 = 0x4C05
LOOP_INFO64 = struct.Struct("<5Q4I64s64s32s2Q")
"""Linux include/uapi/linux/loop.h; its tenth field is the name."""


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


class HandMember:
    """Listens like a member. `requests` reads what came, `answer` sends bytes, with a descriptor where one is given."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.peer: socket.socket | None = None
        self.listener: socket.socket | None = None

    def start(self) -> None:
        self.listener = socket.socket(socket.AF_UNIX)
        self.path.unlink(missing_ok=True)
        self.listener.bind(str(self.path))
        self.listener.listen()
        self.listener.settimeout(5)

    def stop(self) -> None:
        for one in (self.peer, self.listener):
            if one is not None:
                one.close()
        self.peer = self.listener = None

    def accept(self) -> None:
        assert self.listener is not None
        if self.peer is not None:
            self.peer.close()
        self.peer, _ = self.listener.accept()
        self.peer.settimeout(5)

    def request(self) -> tuple[int, int, bytes]:
        """Operation, number, body."""
        if self.peer is None:
            self.accept()
        assert self.peer is not None
        operation, version, length, number = wire.HEADER.unpack(self.peer.recv(wire.HEADER.size, socket.MSG_WAITALL))
        assert version == wire.VERSION
        return operation, number, self.peer.recv(length, socket.MSG_WAITALL)

    def answer(self, status: int, number: int, body: bytes = b"", fd: int | None = None) -> None:
        self.send(wire.HEADER.pack(status, wire.VERSION, len(body), number) + body, fd)

    def send(self, data: bytes, fd: int | None = None) -> None:
        assert self.peer is not None
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [fd]))] if fd is not None else []
        self.peer.sendmsg([data], rights)

    def error(self, number: int, message: str) -> None:
        self.answer(wire.ST_ERROR, number, struct.pack("<i", 5) + message.encode())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def member(tmp_path: Path) -> Iterator[HandMember]:
    one = HandMember(tmp_path / "node.sock")
    one.start()
    yield one
    one.stop()


@pytest.fixture
def chunk_fd(tmp_path: Path) -> Iterator[int]:
    """A complete chunk's file: block n holds the byte n modulo 251."""
    path = tmp_path / "chunk"
    path.write_bytes(b"".join(bytes([n % 251]) * 4096 for n in range(2048)))
    fd = os.open(path, os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.fixture(scope="session")
def can_mount() -> None:
    if reason := missing_part():
        pytest.skip(reason)


def wait_until(holds: Callable[[], bool], within_s: float = 10.0) -> None:
    """Loop devices and FUSE connections end a moment after their mount."""
    deadline = time.monotonic() + within_s
    while not holds() and time.monotonic() < deadline:
        threading.Event().wait(0.01)


def litter(*folders: Path) -> set[str]:
    """Mounts, loop devices, workers and FUSE descriptors there are now: those of members and targets in these folders, and of
    this process. Whatever else runs on this machine has its own."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    mounts = [line for line in lines if line.split(" ")[2] == "erofs" and any(f"{one}/" in line for one in folders)]
    return {*mounts, *loops(*folders), *map(str, workers_of(os.getpid())), *fuse_descriptors()}


def loops(*folders: Path) -> list[str]:
    """Loop devices that are named after commits in these folders: by their files alone, those of all mounts look alike."""
    names = tuple(f"forebay {commit[:12]} " for folder in folders for commit in commits(folder))
    return [found for found in map(_loop, sorted(Path("/sys/block").glob("loop*/loop"))) if found.startswith(names)]


def commits(folder: Path) -> list[str]:
    return [path.stem for path in folder.rglob("catalog/commits/*.json")]


def _loop(path: Path) -> str:
    """Its name and device; empty where it has just ended."""
    try:
        fd = os.open(f"/dev/{path.parent.name}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        status = fcntl.ioctl(fd, LOOP_GET_STATUS64, bytes(LOOP_INFO64.size))
    except OSError:
        return ""
    finally:
        os.close(fd)
    return f"{LOOP_INFO64.unpack(status)[9].rstrip(bytes(1)).decode()} {path.parent.name}"


def workers_of(parent: int) -> list[int]:
    """Process ids of the workers that `parent` has started."""
    return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _is_worker(pid, parent)]


def fuse_descriptors() -> list[str]:
    links = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:
            continue  # the listing's own
    return [link for link in links if link == "/dev/fuse"]


def _is_worker(pid: int, parent: int) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return b"forebay_cache.mount.worker" in command and int(status[1]) == parent
