"""What should be there for a CacheCluster: manifests from its spec and what is known. Pure; calls the files beside it."""

from forebay_cache.contract.config import ClusterState
from forebay_operator.api.v1alpha1 import CacheClusterSpec
from forebay_operator.desired.documents import config_map, state_secret
from forebay_operator.desired.network import services
from forebay_operator.desired.workload import member_set
from forebay_operator.model import Manifest, Object


def desired(owner: Object, spec: CacheClusterSpec, state: ClusterState) -> list[Manifest]:
    """Everything of the cluster but the minted Secrets, which are made once and then only kept."""
    return [config_map(owner, spec), state_secret(owner, state), *services(owner, spec), member_set(owner, spec)]
