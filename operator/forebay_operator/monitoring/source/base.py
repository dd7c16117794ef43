"""What a source gives, and its limits. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from forebay_operator.model import Finding, MonitoringRefused

Tree = Mapping[str, bytes]
"""Path below the repository's folder -> content. Paths are honest: see `path_fault`."""
ROOT_FILE = "forebay.yaml"
NAME = re.compile(r"[A-Za-z0-9_.@+ -]+")
FORBIDDEN = frozenset({".", "..", ".git"})


@dataclass(frozen=True, slots=True)
class Limits:
    """`depth`: folders in folders. A refusal names the limit."""

    files: int = 2000
    file_bytes: int = 1 << 20
    total_bytes: int = 8 << 20
    path_length: int = 240
    depth: int = 8


@dataclass(frozen=True, slots=True)
class Commit:
    """`raw`: the commit object, signature and all. `id`: hex of its name."""

    id: str
    time_s: int
    raw: bytes
    tree: Tree


def refuse(file: str, code: str, message: str, line: int = 0) -> MonitoringRefused:
    return MonitoringRefused(Finding(file, line, code, message))


def path_fault(path: str, limits: Limits) -> str:
    """Why a path is not taken; empty where it is."""
    parts = path.split("/")
    if len(path) > limits.path_length:
        return f"is longer than {limits.path_length} characters"
    if len(parts) > limits.depth:
        return f"is deeper than {limits.depth} folders"
    for part in parts:
        if part.lower() in FORBIDDEN or part.lower().startswith(".git~") or not NAME.fullmatch(part):
            return f"has a part {part!r} that no file here may have"
    return ""


def collect(files: Iterable[tuple[str, bytes]], limits: Limits) -> Tree:
    """The tree, sorted. Raises MonitoringRefused at the first path or size over a limit."""
    tree: dict[str, bytes] = {}
    total = 0
    for path, data in files:
        total += len(data)
        if len(tree) >= limits.files:
            raise refuse(path, "MAC003", f"more than {limits.files} files")
        if len(data) > limits.file_bytes:
            raise refuse(path, "MAC003", f"{len(data):,} bytes; a file may have {limits.file_bytes:,}")
        if total > limits.total_bytes:
            raise refuse(path, "MAC003", f"more than {limits.total_bytes:,} bytes in all")
        tree[path] = text_of(path, data)
    if ROOT_FILE not in tree:
        raise refuse(ROOT_FILE, "MAC004", "is not there: this folder is no monitoring repository (`forebay mac init`)")
    return dict(sorted(tree.items()))


def text_of(path: str, data: bytes) -> bytes:
    """`data`, which is text. Raises MonitoringRefused."""
    try:
        data.decode()
    except UnicodeDecodeError as exc:
        raise refuse(path, "MAC005", "is not UTF-8 text", data[: exc.start].count(b"\n") + 1) from exc
    if b"\0" in data:
        raise refuse(path, "MAC005", "holds a NUL", data[: data.index(b"\0")].count(b"\n") + 1)
    return data
