"""The edge to the disk: the points at which it is about to change, and the one table of its errors."""

import enum
import errno
from collections.abc import Callable

from forebay_cache.model.errors import StoreError, StoreFailed, StoreFull


class Point(enum.StrEnum):
    """Moments just before the disk or the presence map changes, in the order of a chunk's life. Faults are injected here:
    a hook may kill the process, or raise the OSError that the call behind the point might raise."""

    LAY_PRESENCE = "the presence map gets its header"
    WRITE_IDENTITY = "the new identity is written beside the old"
    RENAME_IDENTITY = "the new identity takes the old one's place"
    DELETE_STALE = "a chunk file that may not be trusted is deleted at open"
    CREATE = "a partial chunk file is created"
    SIZE = "the file gets its length"
    FOOTER = "the file gets its footer"
    BYTES = "bytes are written"
    SUMS = "their checksums are written"
    BITS = "their presence bits are set"
    RENAME = "the partial file becomes complete"
    FREE_SLOT = "its presence slot is given back"
    STAMP = "a verified chunk is stamped with this boot"
    QUARANTINE = "a corrupt chunk is moved aside"
    UNLINK = "a chunk is evicted"
    FORGET = "the evicted chunk leaves the index"


Hook = Callable[[Point], None]


def passed(_: Point) -> None:
    """The hook of production: nothing happens."""


_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def store_error(exc: OSError, doing: str) -> StoreError:
    """Our error for the disk's: StoreFull (room may come back), else StoreFailed."""
    if exc.errno in _FULL:
        return StoreFull(f"no space left on the store's disk while {doing}; free space there or lower the capacity")
    return StoreFailed(f"the store's disk failed while {doing}: {exc.strerror or exc}")
