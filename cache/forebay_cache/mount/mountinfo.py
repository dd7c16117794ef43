"""What is mounted where, in this process's mount namespace. Source: proc_pid_mountinfo(5)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MountPoint:
    """`device` is st_dev of what is mounted, as major:minor."""

    target: str
    device: str
    kind: str


def parse(text: str) -> Iterator[MountPoint]:
    """In the order of mounting: of several with one target, the last one is on top. Lines it cannot read are left out."""
    for line in text.splitlines():
        head, _, tail = line.partition(" - ")
        fields, kind = head.split(" "), tail.partition(" ")[0]
        if len(fields) >= 6 and kind:
            yield MountPoint(_unescape(fields[4]), fields[2], kind)


def mounted_at(target: str) -> MountPoint | None:
    """What lies on top at `target`."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return next((point for point in reversed(list(parse(file.read()))) if point.target == target), None)


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
