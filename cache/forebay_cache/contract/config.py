"""Documents the operator writes and a member or agent reads. JSON; unknown fields are ignored (version skew)."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_serializer


class Document(BaseModel):
    """Base of every document: immutable, tolerant of newer fields."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class MemberConfig(Document):
    """What a member must know before it starts. A file; a change needs a restart."""

    cluster: str
    """Name of the CacheCluster, as namespace/name: for messages and labels."""
    cluster_uid: str
    """UID of the CacheCluster; a store that belongs to another cluster is refused."""
    store_path: str
    """Directory of the chunk store: must be a file system with sparse files and rename (ext4, XFS)."""
    catalog_path: str
    """Directory of catalog files: leaves, parts tables, commits, images. Never evicted."""
    capacity_bytes: int = Field(gt=0)
    high_watermark_percent: int = 90
    low_watermark_percent: int = 80
    eviction: Literal["LRU"] = "LRU"
    host: str = "127.0.0.1"
    data_port: int = 7450
    admin_port: int = 9450
    admin_tls: str | None = None
    """Directory with ca.crt, tls.crt and tls.key for the admin port (mutual TLS). None only in tests."""
    peer_port: int | None = None
    """Where other members ask; needs `admin_tls`, from whose key theirs is derived. None: this member is alone."""
    node_socket: str | None = None
    """Path of the unix socket that the node's agent reads chunks from. None: not served."""
    state_path: str | None = None
    """Durable copy of ClusterState to start from before the first push (a mounted Secret); None: wait for a push."""
    log_format: Literal["json", "text"] = "json"


class S3Source(Document):
    """A prefix of an S3 bucket."""

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    """URL; None is AWS."""
    region: str = "us-east-1"
    path_style: bool = True
    identity: str | None = None
    """Replaces scheme, endpoint and region in segment ids, so that a store that moves keeps its cache."""


class DirectorySource(Document):
    """A directory every member can read (NFS, hostPath, tests)."""

    path: str
    identity: str | None = None


class Credentials(Document):
    """Origin keys. Never logged: SecretStr prints as stars, only `model_dump_json` for the wire reveals it."""

    access_key_id: str
    secret_access_key: SecretStr
    session_token: SecretStr | None = None

    @field_serializer("secret_access_key", "session_token", when_used="json")
    def _reveal(self, value: SecretStr | None) -> str | None:
        return value.get_secret_value() if value else None


class Source(Document):
    """One mapping of an origin prefix onto a path of the Dataset's namespace; exactly one of s3 and directory."""

    name: str
    path: str = ""
    """Prefix in the namespace, without leading slash; "" is the root, else it ends with a slash."""
    s3: S3Source | None = None
    directory: DirectorySource | None = None
    credentials: Credentials | None = None
    """None: the member's own identity (environment, instance role), or anonymous where there is none."""


class AccessKey(Document):
    """A key that may read a Dataset over S3."""

    access_key_id: str
    secret_access_key: SecretStr

    @field_serializer("secret_access_key", when_used="json")
    def _reveal(self, value: SecretStr) -> str:
        return value.get_secret_value()


class CacheRules(Document):
    """What a Dataset asks of the members' stores. Sizes are of all members together."""

    policy: str = "Epoch"
    """Epoch, S3FIFO or LRU; what a member does not know counts as Epoch."""
    priority: int = Field(default=100, ge=0, le=1000)
    pin: bool = False
    """What is cached is never evicted."""
    idle_ttl_s: int = Field(default=0, ge=0)
    """Chunks not read for so long are evicted; 0: never for that."""
    guaranteed_bytes: int = Field(default=0, ge=0)
    """What other Datasets cannot push out."""
    max_bytes: int = Field(default=0, ge=0)
    """The most it may use; 0: no limit."""


class DatasetState(Document):
    """One Dataset as the operator wants members to serve it."""

    uid: str
    namespace: str
    name: str
    bucket: str
    """Bucket name on the S3 face, unique in the cluster."""
    anonymous: bool = False
    """Whether GET, HEAD and LIST need no signature."""
    access_keys: tuple[AccessKey, ...] = ()
    sources: tuple[Source, ...]
    head: str | None = None
    """Commit id that readers of Latest see; None before the first sync."""
    latest: str | None = None
    """Commit that a volume of Latest sees when it is first mounted on a node; None: the head. The operator holds it back while
    pods anywhere read an older commit, so that the ranks of a job agree over nodes, too."""
    retained: tuple[str, ...] = ()
    """Older commits that stay readable and mountable (last N, pinned, mounted)."""
    cache: CacheRules = CacheRules()


class ClusterState(Document):
    """All that members know of the cluster; pushed whole, kept as a durable copy. A lower `version` than the one a member
    has is ignored."""

    version: int
    cluster_uid: str
    datasets: tuple[DatasetState, ...] = ()
