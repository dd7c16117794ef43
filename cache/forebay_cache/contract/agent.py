"""Agent API: HTTP and JSON over a unix socket that only root may open. The CLI and the CSI node ask here.

POST   /v1/resolve            body ResolveRequest -> ResolvedCommit: which commit a Dataset's readers see, and who serves it
POST   /v1/mounts             body MountRequest -> Mount (same target and same commit again: the same answer)
GET    /v1/mounts             -> MountList
POST   /v1/unmount            body UnmountRequest -> 204 (also when nothing is mounted there)
GET    /healthz /readyz /metrics   readyz: 503 and the reason where the kernel lacks a part of the mount

Errors are contract.admin.AdminError with 400 (bad target), 404 (no such commit, or nothing above a kubelet's target), 409
(target is in use, or would not reach the host), 500 (the kernel refused), 501 (the kernel lacks a part), 503 (member does not
answer).
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
    member_sockets: str = "/run/forebay/members/{cluster_uid}/*/member.sock"
    """Where node sockets of a cluster's members on this node are: a pattern of shell wildcards. Only root and members may be
    able to write there, because whoever answers on such a socket says what the Dataset holds."""
    log_format: Literal["json", "text"] = "json"


class ResolveRequest(Document):
    """`commit` empty: the one that new readers of the Dataset see."""

    cluster_uid: str
    dataset_uid: str
    commit: str = ""


class ResolvedCommit(Document):
    """A commit of the Dataset that can be mounted now, with its counts. What a member answers (contract/wire.py, OP_COMMIT),
    and the agent with `member_socket`."""

    dataset_uid: str
    commit: str
    files: int
    bytes: int
    member_socket: str = ""


class MountRequest(Document):
    cluster_uid: str
    dataset_uid: str
    commit: str
    target: str
    """Absolute path of an empty directory; made if it does not exist."""
    member_socket: str
    """Node socket of the member on this node."""
    for_pods: bool = False
    """The target is a kubelet's: what is above it must be there already, and a mount on it must reach the host, else it is
    refused (409) instead of being seen by nobody."""


class Mount(Document):
    cluster_uid: str = ""
    dataset_uid: str
    commit: str
    target: str


class MountList(Document):
    mounts: tuple[Mount, ...]


class UnmountRequest(Document):
    """`for_pods`: the target is a kubelet's. What is in use leaves the tree all the same, a mount of ours that no record knows
    goes too, and so does the empty directory where `remove` says so."""

    target: str
    for_pods: bool = False
    remove: bool = False
