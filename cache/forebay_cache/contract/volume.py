"""Volumes: what ties a PersistentVolume to a Dataset. The operator writes it, the CSI node of each machine reads it.

A PersistentVolume of ours has
  spec.csi.driver            DRIVER
  spec.csi.volumeHandle      volume_handle(...): opaque to the node, one for each PersistentVolume (two of one handle on one
                             node never both come up: the kubelet takes them for one)
  spec.csi.volumeAttributes  VolumeAttributes.attributes()
  spec.csi.readOnly          true
  spec.accessModes           [ReadOnlyMany]: the node refuses what writes
The CSIDriver object has attachRequired false, podInfoOnMount false, fsGroupPolicy None, volumeLifecycleModes [Persistent]. The
operator makes volume and claim itself, so there is no CSI controller.

Which commit a pod sees: a commit id pins it. LATEST is what the member on the node answers when the volume is first staged
there (DatasetState.latest, else the head), and stays that while the volume is staged on the node and `idle_s` longer, also
over a restart of everything on the node; so all pods of a job and a restarted one read the same bytes.
"""

from collections.abc import Mapping
from typing import Literal

from pydantic import ConfigDict, Field

from forebay_cache.contract.config import Document

DRIVER = "csi.forebay.dev"
LATEST = "Latest"
HANDLE_LIMIT = 128
"""Bytes a volumeHandle may have, by the CSI specification."""


class VolumeAttributes(Document):
    """volumeAttributes; their names in a PersistentVolume are in camel case. Unknown ones are ignored: the kubelet adds its
    own, and newer operators may."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    cluster_uid: str = Field(alias="clusterUid", pattern=r"^[A-Za-z0-9-]{1,64}$")
    """UID of the CacheCluster: says which member's node socket to ask."""
    dataset_uid: str = Field(alias="datasetUid", pattern=r"^[A-Za-z0-9-]{1,64}$")
    dataset_namespace: str = Field(alias="datasetNamespace", min_length=1, max_length=63)
    dataset_name: str = Field(alias="datasetName", min_length=1, max_length=253)
    """Namespace and name are for messages."""
    commit: str = Field(default=LATEST, pattern=rf"^({LATEST}|[0-9a-f]{{64}})$")
    """LATEST, or the id of the commit that every pod sees."""

    def attributes(self) -> Mapping[str, str]:
        """As a PersistentVolume has them."""
        return {name: str(value) for name, value in self.model_dump(by_alias=True).items()}

    @property
    def dataset(self) -> str:
        return f"{self.dataset_namespace}/{self.dataset_name}"

    @property
    def pinned(self) -> str | None:
        return None if self.commit == LATEST else self.commit


def volume_handle(dataset_uid: str, namespace: str, commit: str = LATEST) -> str:
    """Handle of the PersistentVolume that shows a Dataset in a namespace. `dataset_uid` is the UID of a Kubernetes object (36
    characters) and `namespace` a namespace's name, so it always fits HANDLE_LIMIT."""
    handle = f"{dataset_uid}.{namespace}"
    return handle if commit == LATEST else f"{handle}.{commit[:16]}"


class CsiConfig(Document):
    """What the CSI node process must know before it starts. A file; a change needs a restart."""

    node: str = ""
    """Name of the Kubernetes node; empty: the environment's NODE_NAME."""
    kubelet_dir: str = Field(default="/var/lib/kubelet", pattern=r"^/.")
    """The kubelet's root directory, the same path here as the kubelet sees it. The driver's socket is below plugins/ there, its
    registration in plugins_registry/."""
    agent_socket: str = "/run/forebay/agent.sock"
    state_path: str = "/var/lib/forebay/csi"
    """Directory in which it remembers volumes: it has to outlive the pod (hostPath)."""
    idle_s: float = Field(default=60.0, ge=0)
    """LATEST advances once no pod has had the volume on this node for so long: a rank that is deleted and made again in between
    reads on with the same commit."""
    deadline_s: float = Field(default=60.0, gt=0, le=110.0)
    """A call is answered within this time; the kubelet gives up after two minutes."""
    heal_s: float = Field(default=2.0, gt=0, le=60.0)
    """How often it looks whether the agent still has what the kubelet counts on; an agent that was restarted has none."""
    host: str = "127.0.0.1"
    health_port: int | None = Field(default=None, ge=0, le=65535)
    """Where /healthz, /readyz and /metrics are served; None: nowhere."""
    log_format: Literal["json", "text"] = "json"
