"""The agent's own questions to a member, by the node socket: which commit a Dataset has, and a commit's catalog files.

Blocking; call it in a thread.
"""

import errno
import os
import socket
from array import array
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError

from forebay_cache.contract.agent import ResolvedCommit
from forebay_cache.contract.wire import (
    ERROR,
    FILE,
    FILE_DEVICES,
    FILE_IMAGE,
    HEADER,
    OP_COMMIT,
    OP_FILE,
    ST_BYTES,
    ST_DESCRIPTOR,
    ST_ERROR,
    VERSION,
)
from forebay_cache.model.errors import DeadlineExceeded, MemberUnreachable, NotFound
from forebay_cache.model.ids import CommitId

_NAMES = {FILE_IMAGE: "image", FILE_DEVICES: "device table"}
_ANSWER_LIMIT = 64 << 10


def catalog_file(path: str, which: int, commit: CommitId, timeout_s: float) -> int:
    """A read-only descriptor of the catalog file, to be closed by the caller.

    Raises NotFound (the member has no such commit), MemberUnreachable, DeadlineExceeded (retry).
    """
    with _asked(path, OP_FILE, FILE.pack(which) + commit.encode(), timeout_s) as sock:
        status, body, descriptors = _answer(sock)
        if status == ST_DESCRIPTOR and len(descriptors) == 1:
            return descriptors[0]
        for descriptor in descriptors:
            os.close(descriptor)
        raise NotFound(f"no {_NAMES[which]} of commit {commit}: {_refusal(status, body)[1]}")


def commit_of(path: str, dataset_uid: str, commit: str, timeout_s: float) -> ResolvedCommit:
    """The commit that new readers of a Dataset see, or `commit` where one is given and the Dataset still has it.

    Raises NotFound, MemberUnreachable, DeadlineExceeded (retry).
    """
    with _asked(path, OP_COMMIT, f"{dataset_uid}\0{commit}".encode(), timeout_s) as sock:
        status, body, descriptors = _answer(sock)
        for descriptor in descriptors:
            os.close(descriptor)
        if status != ST_BYTES:
            number, message = _refusal(status, body)
            raise NotFound(message) if number == errno.ENOENT else MemberUnreachable(f"member at {path}: {message}")
        try:
            found = ResolvedCommit.model_validate_json(body)
        except ValidationError as exc:
            raise MemberUnreachable(f"the member at {path} answers what is no commit: {exc}") from exc
        return found.model_copy(update={"member_socket": path})


@contextmanager
def _asked(path: str, operation: int, body: bytes, timeout_s: float) -> Iterator[socket.socket]:
    """A connection on which the request was sent. Raises MemberUnreachable, DeadlineExceeded, also from the block."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(timeout_s)
        try:
            sock.connect(path)
            sock.sendall(HEADER.pack(operation, VERSION, len(body), 1) + body)
            yield sock
        except TimeoutError as exc:
            raise DeadlineExceeded(f"the member at {path} did not answer within {timeout_s:g} s") from exc
        except OSError as exc:
            raise MemberUnreachable(f"the member at {path} does not answer: {exc.strerror}; is it running?") from exc


def _answer(sock: socket.socket) -> tuple[int, bytes, list[int]]:
    """Status, body, descriptors; the caller closes them. Raises OSError, MemberUnreachable."""
    head, descriptors = _receive(sock, HEADER.size)
    status, version, length, _ = HEADER.unpack(head)
    if version != VERSION or length > _ANSWER_LIMIT:
        for descriptor in descriptors:
            os.close(descriptor)
        raise MemberUnreachable(f"the member's answer is none: status {status}, version {version}, {length} bytes")
    return status, _receive(sock, length)[0], descriptors


def _refusal(status: int, body: bytes) -> tuple[int, str]:
    """errno and message of an ST_ERROR. Raises MemberUnreachable where it is none."""
    if status != ST_ERROR or len(body) < ERROR.size:
        raise MemberUnreachable(f"the member's answer is none: status {status} with {len(body)} bytes")
    number: int = ERROR.unpack_from(body)[0]
    return number, body[ERROR.size :].decode(errors="replace")


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
