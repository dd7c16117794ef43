"""The member's own copy of the newest ClusterState, so that a restart serves before anyone pushes.

Two places hold one: the mounted Secret that the operator writes (a minute late at most), and the file this module writes
beside the store (at once). The newer version wins. Both hold credentials: the file is readable by its owner only.
"""

import logging
import os

from pydantic import ValidationError

from forebay_cache.catalog.edge import disk
from forebay_cache.contract.config import ClusterState, Document

log = logging.getLogger("forebay.member")


def load(*paths: str | None) -> ClusterState | None:
    """The newest readable state among `paths`; None if there is none. A file that cannot be read is told and skipped: the
    other one or the next push replaces it."""
    found = [state for path in paths if path and (state := _read(path))]
    return max(found, key=lambda state: state.version, default=None)


def save(path: str, document: Document, doing: str = "keeping the state of the cluster", aside: str = "") -> None:
    """On disk when it returns: written aside, fsynced, renamed. `aside`: a name of its own, where an earlier save may still
    be under way. Blocking. Raises StoreFull, StoreFailed."""
    temporary = aside or f"{path}.new"
    with disk(doing):
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(document.model_dump_json().encode())
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)


def _read(path: str) -> ClusterState | None:
    try:
        with open(path, "rb") as file:
            return ClusterState.model_validate_json(file.read())
    except FileNotFoundError:
        return None
    except OSError as exc:
        why = exc.strerror or str(exc)
    except ValidationError as exc:  # without its input, which may hold credentials
        first = exc.errors(include_input=False)[0]
        why = f"{'.'.join(map(str, first['loc'])) or 'document'}: {first['msg']}"
    log.warning("state not read", extra={"file": path, "reason": why})
    return None
