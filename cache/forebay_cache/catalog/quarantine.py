"""Catalog files that turned out to be damaged: moved aside at once, so that they are never served, and so that a sync, which
leaves alone what is there, writes them again."""

import logging
import os
from contextlib import suppress

from forebay_cache.contract.admin import CatalogProblem

log = logging.getLogger("forebay.catalog")
FOLDER = "quarantine"
LIMIT = 32
"""Files kept for a person to look at; the oldest goes when another comes."""
_NEXT_STEPS = {
    "commits": "`forebay sync` makes a commit anew; roll back where that is not wanted",
    "leaves": "`forebay sync` lists its files anew",
    "parts": "the files of its segment cannot be fetched until `forebay sync` has packed them anew",
    "images": "its commit cannot be mounted anew until `forebay sync` has written it again",
    "devices": "its commit cannot be mounted anew until `forebay sync` has written it again",
}


class Quarantine:
    """Below the catalog's `root`. Thread-safe, and several processes may use it at once."""

    def __init__(self, root: str) -> None:
        self._root = root

    def take(self, *names: str) -> None:
        """Moves a file of the catalog here, best effort: whoever met it raises CatalogCorrupt in any case."""
        with suppress(OSError):
            self._trim()
            os.replace(os.path.join(self._root, *names), self._place(*names))
            log.warning("catalog file damaged, set aside", extra={"file": os.path.join(*names)})

    def holds(self, *names: str) -> bool:
        return os.path.exists(self._place(*names))

    def problems(self) -> list[CatalogProblem]:
        """What was moved here and is not replaced yet."""
        found = []
        for folder, file in self.names():
            if folder in _NEXT_STEPS and not os.path.exists(os.path.join(self._root, *_names(folder, file))):
                message = f"damaged on this member's disk and set aside; {_NEXT_STEPS[folder]}"
                found.append(CatalogProblem(name=f"{folder}/{file}", message=message))
        return found

    def names(self) -> list[tuple[str, str]]:
        """Folder and name of each file."""
        found = (name.partition(".") for name in sorted(os.listdir(os.path.join(self._root, FOLDER))))
        return [(folder, file) for folder, _, file in found]

    def forget(self, folder: str, file: str) -> None:
        """Nothing that is kept needs the file any more."""
        with suppress(FileNotFoundError):
            os.unlink(self._place(folder, file))

    def _place(self, *names: str) -> str:
        return os.path.join(self._root, FOLDER, f"{names[0]}.{names[-1]}")

    def _trim(self) -> None:
        entries = sorted(os.scandir(os.path.join(self._root, FOLDER)), key=lambda entry: entry.stat().st_mtime_ns)
        for entry in entries[: max(0, len(entries) - LIMIT + 1)]:
            os.unlink(entry.path)


def _names(folder: str, file: str) -> tuple[str, ...]:
    """The path of a file in its folder."""
    return (folder, file[:2], file) if folder in ("parts", "ancestors") else (folder, file)
