"""Every metric any process of Forebay shows: name, kind, unit, labels, help. A metric exists only here.

Names follow Prometheus: base units, counters end in `_total`. Label values are bounded: Datasets, origins, operations,
statuses; never keys, clients or chunks. `telemetry.py` shows them; alerts and dashboards are generated from this table.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]
Unit = Literal["", "bytes", "seconds"]

LATENCY_BUCKETS = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
)


@dataclass(frozen=True, slots=True)
class Metric:
    """`buckets` are a histogram's upper bounds, in the metric's unit; +Inf is implied."""

    name: str
    kind: Kind
    help: str
    unit: Unit = ""
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


BUILD = Metric(
    "forebay_build_info",
    "gauge",
    "1, labelled with the version and the kind of process.",
    labels=("version", "process"),
)

S3_REQUESTS = Metric(
    "forebay_s3_requests_total", "counter", "Requests answered on the S3 face.", labels=("operation", "status")
)
S3_SENT = Metric(
    "forebay_s3_sent_bytes_total", "counter", "Bytes sent on the S3 face, heads included.", "bytes", ("operation",)
)
S3_SECONDS = Metric(
    "forebay_s3_request_seconds",
    "histogram",
    "From a request's last byte read to its answer's last byte given to the kernel.",
    "seconds",
    ("operation",),
    LATENCY_BUCKETS,
)
S3_CONNECTIONS = Metric("forebay_s3_connections", "gauge", "Open connections on the S3 face.")
S3_REFUSED = Metric(
    "forebay_s3_refused_connections_total", "counter", "Connections refused because the limit was reached."
)
S3_CUT_SHORT = Metric(
    "forebay_s3_cut_short_total", "counter", "Answers cut short after their first byte.", labels=("reason",)
)
S3_HOT_OBJECTS = Metric("forebay_s3_hot_objects", "gauge", "Objects whose answer is prebuilt.")
S3_HOT_CHUNKS = Metric("forebay_s3_hot_chunks", "gauge", "Chunks the S3 face holds a lease on between requests.")

READ_HITS = Metric("forebay_read_hits_total", "counter", "Spans answered from the store.")
READ_HIT_BYTES = Metric("forebay_read_hit_bytes_total", "counter", "Bytes answered from the store.", "bytes")
READ_MISSES = Metric("forebay_read_misses_total", "counter", "Spans an origin had to give.")
READ_MISS_BYTES = Metric("forebay_read_miss_bytes_total", "counter", "Bytes an origin had to give.", "bytes")
READ_COPIED = Metric(
    "forebay_read_copied_bytes_total",
    "counter",
    "Missed bytes copied from cached chunks of the segments that theirs was merged of.",
    "bytes",
)

PEER_ASKS = Metric("forebay_peer_asks_total", "counter", "Asks sent to other members.")
PEER_RECEIVED = Metric(
    "forebay_peer_received_bytes_total", "counter", "Bytes received from other members, checked.", "bytes"
)
PEER_FAILED = Metric(
    "forebay_peer_failed_asks_total", "counter", "Asks that ended without an answer: the origin was asked instead."
)
PEER_PASSED_BY = Metric(
    "forebay_peer_passed_by_total", "counter", "Asks not made, because the member had just failed to answer."
)
PEER_SENT = Metric("forebay_peer_sent_bytes_total", "counter", "Bytes sent to other members.", "bytes")
PEER_ANSWERS = Metric("forebay_peer_answers_total", "counter", "Spans answered to other members.", labels=("result",))
PEER_CONNECTIONS = Metric("forebay_peer_connections", "gauge", "Open connections of other members.")
GATHER_COMMITS = Metric("forebay_gather_commits_total", "counter", "Commits gathered from other members.")
GATHER_FILES = Metric("forebay_gather_files_total", "counter", "Catalog files that other members gave, right ones.")
GATHER_BYTES = Metric("forebay_gather_bytes_total", "counter", "Bytes of catalog files from other members.", "bytes")
GATHER_REFUSED = Metric(
    "forebay_gather_refused_total", "counter", "Catalog files from other members that were not what their names say."
)
GATHER_FAILED = Metric(
    "forebay_gather_failed_total", "counter", "Tries that did not bring a commit; each is made again later."
)
MEMBERSHIP_EPOCH = Metric("forebay_membership_epoch", "gauge", "Epoch of the membership this member goes by; 0: none.")

ORIGIN_REQUESTS = Metric("forebay_origin_requests_total", "counter", "Requests sent to an origin.", labels=("origin",))
ORIGIN_BYTES = Metric(
    "forebay_origin_received_bytes_total", "counter", "Bytes received from an origin.", "bytes", ("origin",)
)
ORIGIN_ERRORS = Metric(
    "forebay_origin_errors_total", "counter", "Requests to an origin that failed.", labels=("origin",)
)
ORIGIN_HELD = Metric(
    "forebay_origin_held_requests_per_second",
    "gauge",
    "Requests a second that the most held-back prefix of an origin gets since it asked for fewer; absent while none is.",
    labels=("origin",),
)

STORE_CAPACITY = Metric("forebay_store_capacity_bytes", "gauge", "Disk the store may use.", "bytes")
STORE_USED = Metric("forebay_store_used_bytes", "gauge", "Disk the store uses, in blocks.", "bytes")
STORE_CHUNKS = Metric("forebay_store_chunks", "gauge", "Chunks in the store.", labels=("state",))
STORE_EVICTED = Metric("forebay_store_evicted_chunks_total", "counter", "Chunks evicted.")
STORE_EVICTED_BYTES = Metric("forebay_store_evicted_bytes_total", "counter", "Disk freed by eviction.", "bytes")
STORE_QUARANTINED = Metric(
    "forebay_store_quarantined_chunks_total", "counter", "Chunks with a block that broke its checksum."
)
STORE_SCRUBBED = Metric(
    "forebay_store_scrubbed_bytes_total", "counter", "Bytes read back from disk that matched their checksums.", "bytes"
)
STORE_SCRUBS = Metric("forebay_store_scrubs_total", "counter", "How often every chunk was read back.")

DATASET_FILES = Metric("forebay_dataset_files", "gauge", "Files of a Dataset's head.", labels=("dataset",))
DATASET_BYTES = Metric("forebay_dataset_bytes", "gauge", "Bytes of a Dataset's head.", "bytes", ("dataset",))
SYNCS = Metric("forebay_syncs_total", "counter", "Syncs this member ended.", labels=("result",))

NODE_REQUESTS = Metric(
    "forebay_node_requests_total", "counter", "Requests answered on the node socket.", labels=("result",)
)
NODE_SENT = Metric(
    "forebay_node_sent_bytes_total", "counter", "Bytes sent on the node socket (none where a descriptor did).", "bytes"
)

MOUNTS = Metric("forebay_mounts", "gauge", "Commits mounted on this node.")
MOUNT_READS = Metric("forebay_mount_reads_total", "counter", "READs of data devices answered.", labels=("result",))
MOUNT_READ_BYTES = Metric("forebay_mount_read_bytes_total", "counter", "Bytes given to data devices.", "bytes")
MOUNT_SECONDS = Metric(
    "forebay_mount_read_seconds", "histogram", "From a READ to its answer.", "seconds", buckets=LATENCY_BUCKETS
)
DATASET_CHARGED = Metric(
    "forebay_dataset_charged_bytes", "gauge", "Disk of this member that counts as a Dataset's.", "bytes", ("dataset",)
)
DATASET_GUARANTEED = Metric(
    "forebay_dataset_guaranteed_bytes", "gauge", "Disk of all members that others cannot take.", "bytes", ("dataset",)
)
DATASET_MAX = Metric(
    "forebay_dataset_max_bytes", "gauge", "The most disk of all members; absent without a limit.", "bytes", ("dataset",)
)

CSI_CALLS = Metric(
    "forebay_csi_calls_total", "counter", "Calls of the kubelet answered, by gRPC code.", labels=("operation", "status")
)
CSI_SECONDS = Metric(
    "forebay_csi_call_seconds", "histogram", "From a call to its answer.", "seconds", ("operation",), LATENCY_BUCKETS
)
CSI_VOLUMES = Metric("forebay_csi_volumes", "gauge", "Volumes that pods of this node have.")

OPERATOR_ELECTED = Metric("forebay_operator_elected", "gauge", "1 where this operator holds the lease, else 0.")
OPERATOR_SILENT = Metric(
    "forebay_operator_silent_seconds", "gauge", "Since the watch or look that is quiet longest was heard of.", "seconds"
)
OPERATOR_LOOKS = Metric(
    "forebay_operator_looks_total",
    "counter",
    "Looks at objects of a kind, by how they ended (done, failed).",
    labels=("kind", "result"),
)
OPERATOR_LOOK_SECONDS = Metric(
    "forebay_operator_look_seconds", "histogram", "What a look took.", "seconds", ("kind",), LATENCY_BUCKETS
)
OPERATOR_QUEUED = Metric(
    "forebay_operator_queued_clusters", "gauge", "Clusters that are due for a look and that nobody looks at yet."
)
OPERATOR_OVERDUE = Metric(
    "forebay_operator_overdue_seconds", "gauge", "How long the first of the queued clusters has been due.", "seconds"
)
OPERATOR_WATCH_SILENT = Metric(
    "forebay_operator_watch_silent_seconds",
    "gauge",
    "Since the watch of a kind last said anything; the API server speaks up each minute.",
    "seconds",
    ("kind",),
)
OPERATOR_WRITES = Metric(
    "forebay_operator_writes_total",
    "counter",
    "Writes to the API server, by how they ended (accepted, failed).",
    labels=("verb", "kind", "result"),
)

CLUSTER_INFO = Metric(
    "forebay_cluster_info",
    "gauge",
    "1 for each cache cluster, labelled with whose it is and the origin it depends on most.",
    labels=("namespace", "cache_cluster", "owner", "tier", "origin"),
)
MEMBERS_DESIRED = Metric(
    "forebay_members_desired", "gauge", "Members a cluster should have.", labels=("namespace", "cache_cluster")
)
MEMBERS_READY = Metric(
    "forebay_members_ready", "gauge", "Members of a cluster that are ready.", labels=("namespace", "cache_cluster")
)

METRICS: tuple[Metric, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
