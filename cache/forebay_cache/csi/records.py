"""What the driver remembers of volumes on disk: which commit each shows, and where the kubelet counts on it. A file a volume."""

import fcntl
import hashlib
import logging
import os
from contextlib import suppress

from forebay_cache.contract.agent import ResolvedCommit
from forebay_cache.contract.config import Document
from forebay_cache.contract.volume import VolumeAttributes
from forebay_cache.model.errors import ConfigError, StoreFailed

log = logging.getLogger("forebay.csi")


class Volume(Document):
    """`staged` and `published`: paths the kubelet was told are up. `idle_since`: wall clock; None while there are such paths.
    The commit stays the same while there are, and for a while after."""

    id: str
    attributes: VolumeAttributes
    resolved: ResolvedCommit
    staged: tuple[str, ...] = ()
    published: tuple[str, ...] = ()
    idle_since: float | None = None
    boot_id: str

    @property
    def paths(self) -> tuple[str, ...]:
        return (*self.staged, *self.published)

    def with_staged(self, path: str) -> "Volume":
        return self.model_copy(update={"staged": _with(self.staged, path), "idle_since": None})

    def with_published(self, path: str) -> "Volume":
        return self.model_copy(update={"published": _with(self.published, path), "idle_since": None})

    def without(self, path: str, now: float) -> "Volume":
        kept = {"staged": _without(self.staged, path), "published": _without(self.published, path)}
        idle = self.idle_since if any(kept.values()) or not self.paths else now
        return self.model_copy(update={**kept, "idle_since": idle})


def _with(paths: tuple[str, ...], path: str) -> tuple[str, ...]:
    return paths if path in paths else (*paths, path)


def _without(paths: tuple[str, ...], path: str) -> tuple[str, ...]:
    return tuple(one for one in paths if one != path)


class Records:
    """Alone with its folder until `close`. What `put` was given is on disk when it returns."""

    def __init__(self, folder: str) -> None:
        """Raises ConfigError (another driver uses the folder, or it cannot be made)."""
        self._folder = folder
        self._lock = _claim(folder)
        self._volumes: dict[str, Volume] = {}
        for name in sorted(os.listdir(folder)):
            path = os.path.join(folder, name)
            if name.endswith(".new"):
                os.unlink(path)
            elif name.endswith(".json") and (volume := _read(path)):
                self._volumes[volume.id] = volume

    def get(self, volume_id: str) -> Volume | None:
        return self._volumes.get(volume_id)

    def all(self) -> list[Volume]:
        return list(self._volumes.values())

    def put(self, volume: Volume) -> None:
        """Blocking, for one fsync. Raises StoreFailed; then what was before still holds."""
        if self._volumes.get(volume.id) == volume:
            return
        path = self._path(volume.id)
        try:
            with open(path + ".new", "w", encoding="utf-8") as file:
                file.write(volume.model_dump_json())
                file.flush()
                os.fsync(file.fileno())
            os.replace(path + ".new", path)
        except OSError as exc:
            raise StoreFailed(f"state_path: {path}: {exc.strerror}") from exc
        self._volumes[volume.id] = volume

    def remove(self, volume_id: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self._path(volume_id))
        self._volumes.pop(volume_id, None)

    def close(self) -> None:
        os.close(self._lock)

    def _path(self, volume_id: str) -> str:
        return os.path.join(self._folder, hashlib.sha256(volume_id.encode()).hexdigest()[:32] + ".json")


def _read(path: str) -> Volume | None:
    """None where it cannot be read: the kubelet's calls for that volume still end its mounts."""
    try:
        with open(path, "rb") as file:
            return Volume.model_validate_json(file.read())
    except (OSError, ValueError) as exc:
        log.warning("a volume's record cannot be read", extra={"path": path, "detail": str(exc)})
        return None


def _claim(folder: str) -> int:
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as exc:
        raise ConfigError(f"state_path: {folder}: {exc.strerror}") from exc
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        os.close(fd)
        raise ConfigError(f"state_path: another CSI node runs with {folder}") from exc
    return fd
