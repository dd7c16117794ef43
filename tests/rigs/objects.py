"""Small valid objects for tests of anything that speaks the Kube protocol."""

from typing import Any

Body = dict[str, Any]


def cluster(namespace: str, name: str = "main", **spec: Any) -> Body:
    return body("forebay.dev/v1alpha1", "CacheCluster", namespace, name) | {
        "spec": {"storage": {"capacity": "1Gi", "emptyDir": {}}, **spec}
    }


def dataset(namespace: str, name: str = "photos", **spec: Any) -> Body:
    origin = {"name": "all", "s3": {"bucket": "photos"}}
    return body("forebay.dev/v1alpha1", "Dataset", namespace, name) | {
        "spec": {"clusterRef": {"name": "main"}, "sources": [origin], **spec}
    }


def config_map(namespace: str, name: str = "settings", **data: str) -> Body:
    return body("v1", "ConfigMap", namespace, name) | ({"data": data} if data else {})


def secret(namespace: str, name: str = "keys", **data: str) -> Body:
    return body("v1", "Secret", namespace, name) | {"stringData": data}


def service(namespace: str, name: str = "main", *ports: Body) -> Body:
    spec = {"selector": {"app": name}, "ports": list(ports or [{"name": "s3", "port": 7450}])}
    return body("v1", "Service", namespace, name) | {"spec": spec}


def stateful_set(namespace: str, name: str = "main", **container: Any) -> Body:
    labels = {"app": name}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "member", "image": "member:1", **container}]},
    }
    spec = {"serviceName": name, "selector": {"matchLabels": labels}, "template": template, "replicas": 1}
    return body("apps/v1", "StatefulSet", namespace, name) | {"spec": spec}


def pod(namespace: str, name: str = "main-0", **container: Any) -> Body:
    spec = {"containers": [{"name": "member", "image": "member:1", **container}]}
    return body("v1", "Pod", namespace, name) | {"spec": spec}


def body(api_version: str, kind: str, namespace: str, name: str) -> Body:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": namespace}}


def labelled(obj: Body, **labels: str) -> Body:
    return {**obj, "metadata": {**obj["metadata"], "labels": labels}}


def plain(obj: Any) -> Body:
    """Without who manages what: a cache leaves out what others manage."""
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    return {**obj, "metadata": metadata}


def condition(kind: str, *, status: str = "True", reason: str = "Because") -> Body:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }


def status_of(obj: Body, **status: Any) -> Body:
    return {**{name: obj[name] for name in ("apiVersion", "kind", "metadata")}, "status": status}
