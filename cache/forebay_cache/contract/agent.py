"""Agent API: HTTP and JSON over a unix socket that only root may open. The CLI and the CSI node ask here.

POST   /v1/mounts             body MountRequest -> Mount (same target and same commit again: the same answer)
GET    /v1/mounts             -> MountList
POST   /v1/unmount            body UnmountRequest -> 204 (also when nothing is mounted there)
GET    /healthz /readyz /metrics   readyz: 503 and the reason where the kernel lacks a part of the mount

Errors are contract.admin.AdminError with 400 (bad target), 404 (no such commit), 409 (target is in use), 500 (the kernel
refused), 501 (the kernel lacks a part), 503 (member does not answer).
"""

from typing import Literal

from pydantic import Field

from forebay_cache.contract.config import Document


class AgentConfig(Document):
    """What an agent must know before it starts. A file; a change needs a restart."""

    socket: str
    """Path of the agent API's unix socket."""
    state_path: str
    """Directory in which the agent remembers its mounts, so that the next one can clean up after a crash."""
    workers: int = Field(default=8, ge=1, le=16)
    """Processes that answer the READs of one commit, each of 9 MB: how many reads the disk is asked for at once. Small files
    in random order, on a disk that gives ext4 1.2 GB/s: 0.62 of that with two, 0.74 with four, 0.82 with eight."""
    deadline_s: float = Field(default=10.0, gt=0, le=10.0)
    """A READ gets its answer or EIO within this time: a read through a block device cannot be interrupted."""
    held_descriptors: int = Field(default=2048, ge=1)
    """Complete chunks that one worker holds open between READs, at most."""
    read_ahead_kb: int = Field(default=1024, ge=0, le=4096)
    """Of the mounts' block devices. Larger ones make a touched byte of a memory map fetch that much."""
    log_format: Literal["json", "text"] = "json"


class MountRequest(Document):
    cluster_uid: str
    dataset_uid: str
    commit: str
    target: str
    """Absolute path of an empty directory; made if it does not exist."""
    member_socket: str
    """Node socket of the member on this node."""


class Mount(Document):
    cluster_uid: str = ""
    dataset_uid: str
    commit: str
    target: str


class MountList(Document):
    mounts: tuple[Mount, ...]


class UnmountRequest(Document):
    target: str
