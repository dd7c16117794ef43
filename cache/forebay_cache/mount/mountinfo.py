"""What is mounted where, in this process's mount namespace. Source: proc_pid_mountinfo(5)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MountPoint:
    """`device` is st_dev of what is mounted, as major:minor; `shared`: what is mounted below it reaches other mount
    namespaces."""

    target: str
    device: str
    kind: str
    shared: bool = False


def parse(text: str) -> Iterator[MountPoint]:
    """In the order of mounting: of several with one target, the last one is on top. Lines it cannot read are left out."""
    for line in text.splitlines():
        head, _, tail = line.partition(" - ")
        fields, kind = head.split(" "), tail.partition(" ")[0]
        if len(fields) >= 6 and kind:
            yield MountPoint(
                _unescape(fields[4]), fields[2], kind, any(tag.startswith("shared:") for tag in fields[6:])
            )


def mounted_at(target: str) -> MountPoint | None:
    """What lies on top at `target`."""
    return next((point for point in reversed(_points()) if point.target == target), None)


def mounted_around(path: str) -> MountPoint:
    """The mount that `path`, a real path, lies in."""
    around = [point for point in _points() if path.startswith(point.target.rstrip("/") + "/") or path == point.target]
    return max(reversed(around), key=lambda point: len(point.target))


def _points() -> list[MountPoint]:
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return list(parse(file.read()))


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
