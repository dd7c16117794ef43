"""Directories that mounts are shown at: checks them, mounts on them, unmounts, and never what is not ours. Blocking."""

import errno
import os
from contextlib import suppress

from forebay_cache.model.errors import BadInput, MountFailed, TargetGone, TargetInUse
from forebay_cache.mount import syscalls
from forebay_cache.mount.mountinfo import mounted_around, mounted_at
from forebay_cache.mount.records import Record
from forebay_cache.mount.volume import Volume


def check(target: str) -> str:
    """The target's real path. Raises BadInput."""
    if not target.startswith("/") or "\0" in target:
        raise BadInput(f"target {target!r} must be an absolute path")
    real = os.path.realpath(target)
    if real == "/":
        raise BadInput("target must not be the root directory")
    return real


def prepare(target: str) -> bool:
    """Makes sure that the directory is there and empty -> whether it was made. Raises BadInput, TargetInUse."""
    point = mounted_at(target)
    if point is not None:
        raise TargetInUse(f"{target} has {point.kind} mounted on it already; unmount that first")
    try:
        os.makedirs(target, mode=0o755)
    except FileExistsError:
        _check_empty(target)
        return False
    except OSError as exc:
        raise BadInput(f"target {target} cannot be made: {exc.strerror}") from exc
    return True


def check_reaches_pods(target: str) -> None:
    """Raises TargetGone where the pod's directory is gone, TargetInUse where pods would not see a mount made here."""
    above = os.path.dirname(target)
    if not os.path.isdir(above):
        raise TargetGone(
            f"{above} is not there: the pod is gone, or the agent does not have kubeletDir at its own path"
        )
    around = mounted_around(above)
    if not around.shared:
        raise TargetInUse(
            f"a mount on {target} would not reach the host, because {around.target} is not shared; give the agent's "
            "volume mount of kubeletDir mountPropagation: Bidirectional, and make it shared on the host (mount --make-rshared)"
        )


def put_up(volume: Volume, target: str, beside: str | None) -> None:
    """Shows the volume at `target`; `beside`: where it is shown already. Raises MountFailed."""
    try:
        fd = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if beside is None:
                volume.attach(fd)
            else:
                volume.attach_again(beside, fd)
        finally:
            os.close(fd)
    except OSError as exc:
        raise MountFailed(f"mounting on {target}: {exc.strerror}") from exc


def is_up(record: Record) -> bool:
    """Whether what is on top at the target is the mount we put there."""
    point = mounted_at(record.target)
    return point is not None and point.device == record.device


def take_down(record: Record, *, force: bool) -> None:
    """Unmounts our mount, if it is there, and removes the directory if we made it. `force`: what is in use leaves the tree
    all the same. Raises TargetInUse, MountFailed."""
    if is_up(record):
        try:
            syscalls.unmount(record.target)
        except OSError as exc:
            _unmount_busy(record.target, exc, force=force)
    remove(record.target, made=record.made)


def take_down_unknown(target: str) -> None:
    """Unmounts an EROFS at a kubelet's target of which no record is left. Raises MountFailed."""
    point = mounted_at(target)
    if point is not None and point.kind == "erofs":
        try:
            syscalls.detach(target)
        except OSError as exc:
            raise MountFailed(f"unmounting {target}: {exc.strerror}") from exc


def remove(target: str, *, made: bool) -> None:
    """Removes a directory we made."""
    if made:
        with suppress(OSError):  # no longer empty, or gone: then it is somebody else's by now
            os.rmdir(target)


def _unmount_busy(target: str, exc: OSError, *, force: bool) -> None:
    if exc.errno != errno.EBUSY:
        raise MountFailed(f"unmounting {target}: {exc.strerror}") from exc
    if not force:
        raise TargetInUse(f"{target} is in use: close its files and leave its directories (fuser -m {target})") from exc
    try:
        syscalls.detach(target)
    except OSError as failure:
        raise MountFailed(f"unmounting {target}: {failure.strerror}") from failure


def _check_empty(target: str) -> None:
    try:
        with os.scandir(target) as entries:
            if any(True for _ in entries):
                raise TargetInUse(f"target {target} is not empty; mount on an empty or a new directory")
    except OSError as exc:
        raise BadInput(f"target {target}: {exc.strerror}; it must be a directory") from exc
