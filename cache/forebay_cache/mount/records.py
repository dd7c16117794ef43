"""What the agent remembers of its mounts on disk, so that the next one can clean up after a crash: a file a target."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass

from forebay_cache.model.ids import CommitId


@dataclass(frozen=True, slots=True)
class Record:
    """`device` is st_dev of the file system, as major:minor: only that is ours to unmount. `made`: the directory is ours."""

    cluster_uid: str
    dataset_uid: str
    commit: CommitId
    target: str
    device: str
    made: bool


class Records:
    """Written before the mount is attached, removed after it is gone."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        os.makedirs(folder, mode=0o700, exist_ok=True)

    def put(self, record: Record) -> None:
        path = self._path(record.target)
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(asdict(record), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(path + ".new", path)

    def remove(self, target: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self._path(target))

    def __iter__(self) -> Iterator[Record]:
        """What can be read; a file cut short by a crash belongs to a mount that was not attached yet."""
        for name in sorted(os.listdir(self._folder)):
            if not name.endswith(".json"):
                continue
            with (
                suppress(OSError, ValueError, TypeError),
                open(os.path.join(self._folder, name), encoding="utf-8") as file,
            ):
                yield Record(**json.load(file))

    def _path(self, target: str) -> str:
        return os.path.join(
            self._folder, hashlib.sha256(target.encode(errors="surrogateescape")).hexdigest()[:32] + ".json"
        )
