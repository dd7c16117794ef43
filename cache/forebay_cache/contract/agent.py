"""Agent API: HTTP and JSON over a unix socket that only root may open. The CLI and the CSI node ask here.

POST   /v1/mounts             body MountRequest -> Mount (same target and same commit again: the same answer)
GET    /v1/mounts             -> MountList
POST   /v1/unmount            body UnmountRequest -> 204 (also when nothing is mounted there)
GET    /healthz /metrics

Errors are contract.admin.AdminError with 400 (bad target), 404 (no such cluster or commit), 409 (target is in use), 501
(the kernel lacks a part), 503 (member does not answer).
"""

from forebay_cache.contract.config import Document


class MountRequest(Document):
    cluster_uid: str
    dataset_uid: str
    commit: str
    target: str
    """Absolute path of an empty directory; made if it does not exist."""
    member_socket: str
    """Node socket of the member on this node."""


class Mount(Document):
    dataset_uid: str
    commit: str
    target: str
    files: int = 0
    bytes: int = 0


class MountList(Document):
    mounts: tuple[Mount, ...]


class UnmountRequest(Document):
    target: str
