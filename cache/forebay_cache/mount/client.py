"""The agent's own questions to a member: catalog files of a commit, by the node socket. Blocking; call it in a thread."""

import os
import socket
from array import array

from forebay_cache.contract.wire import (
    ERROR,
    FILE,
    FILE_DEVICES,
    FILE_IMAGE,
    HEADER,
    OP_FILE,
    ST_DESCRIPTOR,
    ST_ERROR,
    VERSION,
)
from forebay_cache.model.errors import DeadlineExceeded, MemberUnreachable, NotFound
from forebay_cache.model.ids import CommitId

_NAMES = {FILE_IMAGE: "image", FILE_DEVICES: "device table"}
_ERROR_LIMIT = 64 << 10


def catalog_file(path: str, which: int, commit: CommitId, timeout_s: float) -> int:
    """A read-only descriptor of the catalog file, to be closed by the caller.

    Raises NotFound (the member has no such commit), MemberUnreachable, DeadlineExceeded (retry).
    """
    body = FILE.pack(which) + commit.encode()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(timeout_s)
        try:
            sock.connect(path)
            sock.sendall(HEADER.pack(OP_FILE, VERSION, len(body), 1) + body)
            return _answer(sock, which, commit)
        except TimeoutError as exc:
            raise DeadlineExceeded(f"the member at {path} did not answer within {timeout_s:g} s") from exc
        except OSError as exc:
            raise MemberUnreachable(f"the member at {path} does not answer: {exc.strerror}; is it running?") from exc


def _answer(sock: socket.socket, which: int, commit: CommitId) -> int:
    head, descriptors = _receive(sock, HEADER.size)
    status, version, length, _ = HEADER.unpack(head)
    if status == ST_DESCRIPTOR and len(descriptors) == 1:
        return descriptors[0]
    for descriptor in descriptors:
        os.close(descriptor)
    if status != ST_ERROR or version != VERSION or not ERROR.size <= length <= _ERROR_LIMIT:
        raise MemberUnreachable(f"the member's answer is none: status {status}, version {version}")
    message = _receive(sock, length)[0][ERROR.size :].decode(errors="replace")
    raise NotFound(f"no {_NAMES[which]} of commit {commit}: {message}")


def _receive(sock: socket.socket, length: int) -> tuple[bytes, list[int]]:
    data = bytearray()
    descriptors: list[int] = []
    while len(data) < length:
        some, ancillary, _, _ = sock.recvmsg(length - len(data), socket.CMSG_SPACE(16), socket.MSG_CMSG_CLOEXEC)
        if not some:
            raise ConnectionResetError(0, "it closed the connection")
        data += some
        for level, kind, packed in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors.extend(array("i", packed))
    return bytes(data), descriptors
