"""Whose store this is, and which boot writes it: a small durable file, and a lock that only one process holds."""

import fcntl
import json
import os
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from forebay_cache.model.errors import ConfigError, StoreFailed
from forebay_cache.model.ids import MemberId
from forebay_cache.store.edge import Hook, Point
from forebay_cache.store.layout import FORMAT_VERSION

_FILE = "identity.json"
_LOCK = "lock"


@dataclass(frozen=True, slots=True)
class Identity:
    """`boots` counts the changes of `boot_id`: a disk that went to another machine and came back in the same boot has seen
    another one in between, so what it held before is verified again."""

    format: int
    member: MemberId
    cluster_uid: str
    capacity_bytes: int
    boot_id: str
    boots: int


def lock_store(path: str) -> int:
    """The descriptor that holds the store's lock until it is closed or the process ends. Raises StoreFailed."""
    fd = os.open(os.path.join(path, _LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        holder = os.pread(fd, 32, 0).decode(errors="replace").strip()
        os.close(fd)
        raise StoreFailed(f"store {path} is open in process {holder}; one process may have it open") from exc
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def read(path: str) -> Identity | None:
    """None: a new store. Raises ConfigError where the file cannot be understood."""
    try:
        with open(os.path.join(path, _FILE), "rb") as file:
            found = json.load(file)
    except FileNotFoundError:
        return None
    except ValueError as exc:
        raise ConfigError(f"store_path: {path}/{_FILE} is not readable JSON: {exc}") from exc
    if not isinstance(found, dict) or found.get("format") != FORMAT_VERSION:
        raise ConfigError(f"store_path: {path} is not a store of format {FORMAT_VERSION}")
    try:
        return Identity(**{name: found[name] for name in Identity.__slots__})
    except KeyError as exc:
        raise ConfigError(f"store_path: {path}/{_FILE} lacks {exc}") from exc


@dataclass(frozen=True, slots=True)
class Claim:
    """Who opens a store, in which boot, with what capacity."""

    cluster_uid: str
    capacity_bytes: int
    boot_id: str


def settle(old: Identity | None, claim: Claim, new_id: Callable[[], uuid.UUID]) -> Identity:
    """The identity from now on. Raises ConfigError for another cluster's store. Pure."""
    capacity, boot = claim.capacity_bytes, claim.boot_id
    if old is None:
        return Identity(FORMAT_VERSION, MemberId(str(new_id())), claim.cluster_uid, capacity, boot, 1)
    if old.cluster_uid != claim.cluster_uid:
        raise ConfigError(
            f"store_path: this store (member {old.member}) belongs to cluster {old.cluster_uid}, not to"
            f" {claim.cluster_uid}; give this member an empty directory, or delete the store"
        )
    boots = old.boots + (old.boot_id != boot)
    return replace(old, capacity_bytes=capacity, boot_id=boot, boots=boots)


def write(path: str, identity: Identity, at: Hook) -> None:
    """Replaces the file, durably: the one fsync of a store."""
    fresh = os.path.join(path, _FILE + ".new")
    at(Point.WRITE_IDENTITY)
    with open(fresh, "w") as file:
        json.dump(asdict(identity), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    at(Point.RENAME_IDENTITY)
    os.rename(fresh, os.path.join(path, _FILE))
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
