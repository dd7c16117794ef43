"""The members' StatefulSet. Pure."""

from collections.abc import Mapping
from typing import Any

from forebay_operator import names
from forebay_operator.api.v1alpha1 import ADMIN_PORT, PEER_PORT, CacheClusterSpec, Storage
from forebay_operator.model import Manifest, Object

DEFAULT_IMAGE = "forebay:0.1.0"
CONFIG_DIR, STATE_DIR, TLS_DIR, DATA_DIR, RUN_DIR = (
    "/etc/forebay/config",
    "/etc/forebay/state",
    "/etc/forebay/admin",
    "/var/lib/forebay",
    "/run/forebay",
)
NODE_SOCKET = f"{RUN_DIR}/member.sock"
COMMAND = (
    "python",
    "-m",
    "forebay_cache.main",
    "member",
    "--config",
    f"{CONFIG_DIR}/member.json",
    "--host",
    "$(POD_IP)",
)
GRACE_S = 30


def member_set(owner: Object, spec: CacheClusterSpec) -> Manifest:
    namespace, cluster = owner["metadata"]["namespace"], owner["metadata"]["name"]
    key = names.member_set(namespace, cluster)
    claims = [_claim(spec.storage)] if spec.storage.claim else []
    body = {
        "serviceName": names.peers(namespace, cluster).name,
        "replicas": spec.replicas,
        "podManagementPolicy": "Parallel",
        "updateStrategy": {"type": "OnDelete"},  # the operator orders restarts
        "selector": {"matchLabels": {names.CLUSTER_LABEL: cluster}},
        "template": {"metadata": {"labels": names.labels(cluster)}, "spec": _pod(spec, namespace, cluster)},
        **({"volumeClaimTemplates": claims} if claims else {}),
    }
    return Manifest(key, names.owned(key, owner, cluster, spec=body))


def _pod(spec: CacheClusterSpec, namespace: str, cluster: str) -> dict[str, Any]:
    secret_volumes = {"state": names.state(namespace, cluster), "admin": names.member_tls(namespace, cluster)}
    return {
        "terminationGracePeriodSeconds": GRACE_S,
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "fsGroup": 65532},
        "containers": [_container(spec)],
        "volumes": [
            {"name": "config", "configMap": {"name": names.config(namespace, cluster).name}},
            *({"name": name, "secret": {"secretName": key.name}} for name, key in secret_volumes.items()),
            {"name": "run", "emptyDir": {}},
            *_data(spec.storage),
        ],
    }


def _container(spec: CacheClusterSpec) -> dict[str, Any]:
    mounts = {"config": CONFIG_DIR, "state": STATE_DIR, "admin": TLS_DIR, "run": RUN_DIR, "data": DATA_DIR}
    resources = spec.resources.model_dump(by_alias=True, exclude_none=True, mode="json")
    return {
        "name": "member",
        "image": _image(spec),
        **({"imagePullPolicy": spec.image.pull_policy} if spec.image else {}),
        "command": list(COMMAND),
        "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "ports": [
            {"name": "s3", "containerPort": spec.s3.port, "protocol": "TCP"},
            {"name": "admin", "containerPort": ADMIN_PORT, "protocol": "TCP"},
            {"name": "peer", "containerPort": PEER_PORT, "protocol": "TCP"},
        ],
        "readinessProbe": _probe("/readyz", period_s=5),
        "livenessProbe": {**_probe("/healthz", period_s=10), "initialDelaySeconds": 10},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [{"name": name, "mountPath": path} for name, path in mounts.items()],
        **({"resources": resources} if resources else {}),
    }


def _image(spec: CacheClusterSpec) -> str:
    if spec.image is None:
        return DEFAULT_IMAGE
    mark = f":{spec.image.tag}" if spec.image.tag else f"@{spec.image.digest}"
    return spec.image.repository + mark


def _probe(path: str, *, period_s: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "admin", "scheme": "HTTPS"},
        "periodSeconds": period_s,
        "timeoutSeconds": 5,
    }


def _data(storage: Storage) -> list[Mapping[str, Any]]:
    """The volume of chunks, unless a claim template brings it."""
    if storage.host_path:
        return [{"name": "data", "hostPath": {"path": storage.host_path.path, "type": "DirectoryOrCreate"}}]
    return [{"name": "data", "emptyDir": {}}] if storage.empty_dir else []


def _claim(storage: Storage) -> dict[str, Any]:
    assert storage.claim is not None
    of_class = {"storageClassName": storage.claim.storage_class_name} if storage.claim.storage_class_name else {}
    return {
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": storage.capacity}},
            **of_class,
        },
    }
