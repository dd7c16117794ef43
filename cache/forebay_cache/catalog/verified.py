"""Opens catalog files and holds them against the hash that tells their content: once a process, streaming, when they are first
used. What does not match, or cannot be read, goes to quarantine. Blocking; each call raises StoreFailed where the disk does not
even open a file (or no descriptor is left): that says nothing of the file."""

import hashlib
import mmap
import os
from collections.abc import Callable
from io import BufferedReader
from typing import TypeVar

from forebay_cache.catalog.edge import disk
from forebay_cache.catalog.quarantine import Quarantine
from forebay_cache.model.errors import CatalogCorrupt, NotFound

T = TypeVar("T")
SMALL = 4096
"""Files up to this size are read, not mapped: a map costs a descriptor."""
SEEN_LIMIT = 1 << 20
_DAMAGED = "catalog file {} was damaged on this member's disk and is set aside; `forebay sync` heals it"


class VerifiedFiles:
    """Thread-safe. `names`: the path of a file below the catalog's root, folder by folder."""

    def __init__(self, root: str) -> None:
        self.quarantine = Quarantine(root)
        self._root = root
        self._seen: set[tuple[str, ...]] = set()

    def load(self, *names: str) -> mmap.mmap | bytes:
        """The bytes of a file that is named by its SHA-256. Raises NotFound, CatalogCorrupt."""
        with self._opened(*names) as file:
            self._verify(file, names[-1], *names)
            return _content(file)

    def sealed(self, decode: Callable[[bytes], T], *names: str) -> T:
        """What `decode` makes of a file that holds its own checksum; it raises CatalogCorrupt. Raises NotFound,
        CatalogCorrupt."""
        with self._opened(*names) as file:
            try:
                return decode(file.read())
            except (OSError, CatalogCorrupt) as exc:
                raise self.damaged(*names) from exc

    def again(self, *names: str) -> mmap.mmap | bytes:
        """The bytes of a file that was `sealed` just now. Raises NotFound."""
        with self._opened(*names) as file:
            return _content(file)

    def path(self, sha256: str, size: int, *names: str) -> str:
        """The path of a file with this hash; where none was recorded ("") its size must do. Raises NotFound,
        CatalogCorrupt."""
        with self._opened(*names) as file:
            if os.fstat(file.fileno()).st_size != size:
                raise self.damaged(*names)
            if sha256:
                self._verify(file, sha256, *names)
        return os.path.join(self._root, *names)

    def damaged(self, *names: str) -> CatalogCorrupt:
        """To be raised by who found out; the file is set aside."""
        self._seen.discard(names)
        self.quarantine.take(*names)
        return CatalogCorrupt(_DAMAGED.format(os.path.join(*names)))

    def forget(self, *names: str) -> None:
        """The file is about to be deleted."""
        self._seen.discard(names)

    def _opened(self, *names: str) -> BufferedReader:
        what = os.path.join(*names)
        with disk(f"opening {what}"):
            try:
                return open(os.path.join(self._root, what), "rb")
            except FileNotFoundError as exc:
                if self.quarantine.holds(*names):
                    raise CatalogCorrupt(_DAMAGED.format(what)) from exc
                raise NotFound(f"catalog file {what} is not in this member's catalog") from exc

    def _verify(self, file: BufferedReader, sha256: str, *names: str) -> None:
        if names in self._seen:
            return
        try:
            found = hashlib.file_digest(file, "sha256").hexdigest()  # by read: a bad sector under a map is SIGBUS
        except OSError as exc:
            raise self.damaged(*names) from exc
        if found != sha256:
            raise self.damaged(*names)
        if len(self._seen) >= SEEN_LIMIT:
            self._seen.clear()
        self._seen.add(names)


def _content(file: BufferedReader) -> mmap.mmap | bytes:
    file.seek(0)
    small = os.fstat(file.fileno()).st_size <= SMALL
    return file.read() if small else mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
