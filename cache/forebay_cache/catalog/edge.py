"""The edge to the catalog's disk: the points at which it is about to change, and the one table of its errors."""

import enum
import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from forebay_cache.model.errors import StoreFailed, StoreFull


class Point(enum.StrEnum):
    """Moments just before the disk changes. Faults are injected here: a hook may kill the process, or raise the OSError that
    the call behind the point might raise."""

    BEGIN = "a file is begun aside"
    SYNC = "finished files are made durable"
    NAME = "a durable file gets its name"
    SYNC_FOLDERS = "the folders that hold new names are made durable"
    DELETE = "a file that no commit needs is deleted"


Hook = Callable[[Point], None]


def passed(_: Point) -> None:
    """The hook of production: nothing happens."""


@contextmanager
def disk(doing: str) -> Iterator[None]:
    """Raises StoreFull (room may come back) or StoreFailed for what the disk answers."""
    try:
        yield
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFull(f"no space left on the catalog's disk while {doing}; free space there") from exc
        raise StoreFailed(f"the catalog's disk failed while {doing}: {exc.strerror or exc}") from exc
