"""Services of a cluster. Pure."""

from forebay_operator import names
from forebay_operator.api.v1alpha1 import ADMIN_PORT, PEER_PORT, CacheClusterSpec
from forebay_operator.model import Manifest, Object


def services(owner: Object, spec: CacheClusterSpec) -> list[Manifest]:
    """One that gives members names, also before they are ready, and one that clients use."""
    namespace, cluster = owner["metadata"]["namespace"], owner["metadata"]["name"]
    selector = {names.CLUSTER_LABEL: cluster}
    s3 = {"name": "s3", "port": spec.s3.port, "targetPort": "s3", "protocol": "TCP"}
    admin = {"name": "admin", "port": ADMIN_PORT, "targetPort": "admin", "protocol": "TCP"}
    peer = {"name": "peer", "port": PEER_PORT, "targetPort": "peer", "protocol": "TCP"}
    ports = [s3, admin, peer]
    headless = {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": selector, "ports": ports}
    client = {"type": "ClusterIP", "selector": selector, "ports": [s3]}
    peers, face = names.peers(namespace, cluster), names.s3(namespace, cluster)
    return [
        Manifest(peers, names.owned(peers, owner, cluster, spec=headless)),
        Manifest(face, names.owned(face, owner, cluster, spec=client)),
    ]
