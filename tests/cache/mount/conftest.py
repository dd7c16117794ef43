"""A member's end of the node socket, spoken by hand; and whether this machine can mount."""

import os
import socket
import struct
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest

from forebay_cache.contract import wire
from forebay_cache.mount.support import missing_part


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
