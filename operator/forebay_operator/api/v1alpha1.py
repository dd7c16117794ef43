"""CacheCluster and Dataset as pydantic models: each field's meaning, unit, default and bounds have their home here.

`crd` writes the CRDs from these classes and `rules` adds what a schema alone cannot say; a docstring under a field is
what `kubectl explain` prints. The operator reads objects with `CacheCluster.model_validate`, after the API server (or
`defaults`) has checked them; unknown fields are ignored, so that an older operator can read a newer object.
"""

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from forebay_operator.api.cache import Cache
from forebay_operator.api.fields import (
    Bytes,
    CommitId,
    Condition,
    Duration,
    Metadata,
    Name,
    ObjectName,
    Part,
    Quantity,
    Text,
    Time,
)

GROUP = "forebay.dev"
VERSION = "v1alpha1"
ADMIN_PORT = 9450
PEER_PORT = 9451
"""The members' admin port, which spec.s3.port must leave alone."""


def keyed(key: str) -> dict[str, JsonValue]:
    """Marks a list whose items are told apart by `key`: each may have an owner of its own."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


Conditions = Annotated[tuple[Condition, ...], Field(max_length=16, json_schema_extra=keyed("type"))]


class Image(Part):
    """The members' container image."""

    repository: Annotated[str, Field(min_length=1, max_length=255)]
    """Registry and name, without tag or digest."""
    tag: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$", max_length=128)] | None = None
    """A tag; either this or digest."""
    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$", max_length=71)] | None = None
    """A digest; either this or tag."""
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When a node pulls it."""


class Claim(Part):
    """A persistent volume claim for each member."""

    storage_class_name: ObjectName | None = None
    """The storage class; left out: the cluster's default. It should give local NVMe with a file system that has sparse
    files and rename (ext4, XFS)."""


class HostPath(Part):
    """A directory of each node; the namespace must allow privileged pods."""

    path: Annotated[str, Field(pattern=r"^/", max_length=4096)]
    """An absolute path on a file system with sparse files and rename (ext4, XFS)."""


class EmptyDir(Part):
    """A directory that lasts as long as its pod: the cache starts cold after each move."""


class Storage(Part):
    """Where a member keeps its chunks: exactly one of claim, hostPath and emptyDir, for good."""

    capacity: Quantity
    """Disk that each member may use, for example 2Ti."""
    claim: Claim | None = None
    """A persistent volume claim for each member."""
    host_path: HostPath | None = None
    """A directory of each node."""
    empty_dir: EmptyDir | None = None
    """A directory that lasts as long as its pod."""


class ClusterS3(Part):
    """The members' S3 face."""

    port: Annotated[int, Field(ge=1024, le=65535)] = 7450
    """TCP port of the S3 face, on each member and on the Service."""


Amounts = Annotated[dict[str, int | Quantity], Field(max_length=16)]


class Resources(Part):
    """CPU and memory of each member, as in a pod; pages of the cached files count as memory of the member."""

    requests: Amounts | None = None
    """What a node must have free."""
    limits: Amounts | None = None
    """What a member may use."""


class CacheClusterSpec(Part):
    """A set of cache members that share their disks."""

    replicas: Annotated[int, Field(ge=0, le=64)] = 1
    """Number of members. Each chunk is kept by one of them, so their disks add up. With fewer than before, what those that
    go had is fetched again; 0 stops the cache and keeps persistent chunks."""
    image: Image | None = None
    """The members' image; left out: the one this operator was released with."""
    storage: Storage
    """Where a member keeps its chunks."""
    high_watermark_percent: Annotated[int, Field(ge=50, le=99)] = 90
    """Share of the capacity at which eviction starts."""
    low_watermark_percent: Annotated[int, Field(ge=10, le=98)] = 80
    """Share of the capacity at which eviction stops."""
    eviction: Literal["LRU"] = "LRU"
    """Which chunks go first of those that no Dataset lists any more: LRU, the least recently used."""
    s3: ClusterS3 = ClusterS3()
    """The members' S3 face."""
    resources: Resources = Resources()
    """CPU and memory of each member."""
    suspend: bool = False
    """True: the operator leaves this cluster and its Datasets as they are; members go on serving."""


class Capacity(Part):
    """Disk of all members together."""

    total: Bytes
    """Bytes that chunks may use."""
    used: Bytes
    """Bytes that chunks use."""


class MemberStatus(Part):
    """One member as the operator sees it."""

    name: ObjectName
    """Its pod."""
    member_id: Annotated[str, Field(max_length=64)] = ""
    """The UUID of its store; empty until it has answered once."""
    ready: bool
    """Whether it serves."""
    restarts: Annotated[int, Field(ge=0)] = 0
    """How often its process was started again."""
    used_bytes: Bytes = 0
    """Bytes that its chunks use."""
    message: Text = ""
    """Why it does not serve, or what it found damaged."""


class CacheClusterStatus(Part):
    """What was seen; an index, never the only copy of anything."""

    observed_generation: int | None = None
    """The metadata.generation that was acted on."""
    replicas: int | None = None
    """Members there are."""
    ready_replicas: int | None = None
    """Members that serve."""
    selector: Annotated[str, Field(max_length=512)] | None = None
    """Label selector of the members' pods, for the scale subresource."""
    endpoint: Annotated[str, Field(max_length=512)] | None = None
    """URL of the S3 face."""
    capacity: Capacity | None = None
    """Disk of all members together."""
    members: Annotated[tuple[MemberStatus, ...], Field(max_length=1000, json_schema_extra=keyed("name"))] = ()
    """Each member."""
    conditions: Conditions = ()
    """What is the case."""


class ClusterMetadata(Metadata):
    """Members are named after their cluster, so its name is short."""

    name: Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", max_length=40)]


class CacheCluster(Part):
    """CacheCluster is a cache: members that keep chunks of Datasets on local disks and serve them over S3 and mounts."""

    metadata: ClusterMetadata
    spec: CacheClusterSpec
    status: CacheClusterStatus = CacheClusterStatus()


class LocalReference(Part):
    """Names an object in the same namespace."""

    name: ObjectName
    """Its name."""


class S3Origin(Part):
    """A prefix of a bucket of an S3 store."""

    bucket: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$", min_length=3, max_length=255)]
    """The bucket."""
    prefix: Annotated[str, Field(max_length=1024)] = ""
    """Only keys that start with this; it is cut off in the Dataset's namespace."""
    endpoint: Annotated[str, Field(pattern=r"^https?://[^\s/?#@]+/?$", max_length=512)] | None = None
    """URL of the store, without credentials; left out: AWS."""
    region: Annotated[str, Field(min_length=1, max_length=63)] = "us-east-1"
    """The store's region, part of every signature."""
    path_style: bool = True
    """True: the bucket is in the path of a URL; False: in its host name."""
    identity: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """Stands for endpoint and region in the names of chunks, so that a store that moves keeps its cache."""


class DirectoryOrigin(Part):
    """A directory that every member can read, such as an NFS mount."""

    path: Annotated[str, Field(pattern=r"^/", max_length=4096)]
    """An absolute path."""
    identity: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """Stands for the path in the names of chunks, so that a directory that moves keeps its cache."""


class OriginCredentials(Part):
    """Keys for the origin; left out: the members' own identity, or anonymous where there is none."""

    secret_ref: LocalReference
    """A Secret with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, where there is one, AWS_SESSION_TOKEN."""


class Source(Part):
    """One mapping of an origin prefix onto a path of the namespace: exactly one of s3 and directory."""

    name: Name
    """Names the source in messages."""
    path: Annotated[str, Field(pattern=r"^([^/]+/)*$", max_length=512)] = ""
    """Where its files appear: empty for the root, else a path that ends with a slash."""
    s3: S3Origin | None = None
    """A prefix of a bucket of an S3 store."""
    directory: DirectoryOrigin | None = None
    """A directory that every member can read."""
    credentials: OriginCredentials | None = None
    """Keys for an S3 store."""


class Sync(Part):
    """When the origin is listed again."""

    mode: Literal["Never", "Interval"] = "Interval"
    """Never: once, and when asked (`forebay sync`); Interval: again and again."""
    interval: Duration = "5m"
    """Time between the end of a sync and the next, 10s at the least."""


class Version(Part):
    """Which commit readers see."""

    mode: Literal["Latest", "Pinned"] = "Latest"
    """Latest: the newest; Pinned: the one named, whatever comes."""
    commit: CommitId | None = None
    """The commit that is pinned."""


class Commits(Part):
    """Which commits stay readable."""

    keep: Annotated[int, Field(ge=1, le=100)] = 5
    """How many of the newest; pinned and mounted ones stay as well."""


class DatasetS3(Part):
    """The Dataset on the cluster's S3 face."""

    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*[a-z0-9]$", min_length=3, max_length=63)] | None = None
    """Bucket name, unique in the cluster; left out: metadata.name."""
    access: Literal["Keys", "Anonymous"] = "Keys"
    """Keys: a Secret named after the Dataset with -s3 holds the keys that may read; Anonymous: anyone may read."""


class DatasetSpec(Part):
    """Data of one or more origins under one name."""

    cluster_ref: LocalReference
    """The CacheCluster that keeps it, for good."""
    sources: Annotated[tuple[Source, ...], Field(min_length=1, max_length=16, json_schema_extra=keyed("name"))]
    """Where the data lives; no path lies inside another."""
    sync: Sync = Sync()
    """When the origin is listed again."""
    version: Version = Version()
    """Which commit readers see."""
    commits: Commits = Commits()
    """Which commits stay readable."""
    s3: DatasetS3 = DatasetS3()
    """The Dataset on the cluster's S3 face."""
    cache: Cache = Cache()
    """What the Dataset may have of the members' disks."""
    suspend: bool = False
    """True: no sync starts; what is there stays readable."""


class Head(Part):
    """The commit that readers of Latest see."""

    commit: CommitId
    """Its id."""
    files: Annotated[int, Field(ge=0)]
    """Files in it."""
    bytes: Bytes
    """Their sizes together."""
    time: Time
    """When it was made."""


class CommitStatus(Part):
    """A commit that stays readable."""

    id: CommitId
    """Its id."""
    time: Time
    """When it was made."""
    files: Annotated[int, Field(ge=0)]
    """Files in it."""
    bytes: Bytes
    """Their sizes together."""
    parent: CommitId | None = None
    """The commit before it."""


class SyncStatus(Part):
    """The newest sync."""

    state: Literal["Idle", "Running", "Succeeded", "Failed"]
    """How it stands."""
    start_time: Time | None = None
    """When it started."""
    finish_time: Time | None = None
    """When it ended."""
    listed: Annotated[int, Field(ge=0)] = 0
    """Objects listed."""
    message: Text = ""
    """Why it failed, with the next step."""
    requested: Annotated[str, Field(max_length=64)] = ""
    """The newest request (annotation forebay.dev/sync) that was answered."""


class Cached(Part):
    """How much of the head is in the cache."""

    bytes: Bytes
    """Bytes of this Dataset that are cached."""
    percent: Annotated[int, Field(ge=0, le=100)]
    """Share of the head's bytes."""


class DatasetStatus(Part):
    """What was seen; an index, never the only copy of anything."""

    observed_generation: int | None = None
    """The metadata.generation that was acted on."""
    head: Head | None = None
    """The commit that readers of Latest see."""
    commits: Annotated[tuple[CommitStatus, ...], Field(max_length=100)] = ()
    """Commits that stay readable, newest first."""
    bucket: Annotated[str, Field(max_length=63)] | None = None
    """Bucket on the cluster's S3 face."""
    secret_name: ObjectName | None = None
    """Secret with the keys that may read."""
    sync: SyncStatus | None = None
    """The newest sync."""
    cached: Cached | None = None
    """How much of the head is in the cache."""
    conditions: Conditions = ()
    """What is the case."""


class DatasetMetadata(Metadata):
    """A Dataset's name is a bucket name and a label as well."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][-a-z0-9]*[a-z0-9]$", min_length=3, max_length=63)]


class Dataset(Part):
    """Dataset is a folder of training data: files of one or more origins, versioned by commits, cached by a CacheCluster."""

    metadata: DatasetMetadata
    spec: DatasetSpec
    status: DatasetStatus = DatasetStatus()
