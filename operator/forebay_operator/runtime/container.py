"""What a container of a pod template means on this machine: its command line and its environment. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forebay_operator.model import BadManifest, Object

REFERENCE = re.compile(r"\$(?:\$|\(([A-Za-z_][A-Za-z0-9_.-]*)\))")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pod runs: what its fields say of it."""

    address: str
    root: str
    host: Mapping[str, str]
    """The environment all pods start from: that of `forebay up` itself, so PATH and a person's cloud identity hold."""


def environment(container: Mapping[str, Any], pod: Object, place: Place) -> dict[str, str]:
    """Environment of the process. Later entries may use $(EARLIER)."""
    made = {**place.host, "FOREBAY_ROOT": place.root}
    own: dict[str, str] = {}
    for entry in container.get("env") or ():
        source = entry.get("valueFrom")
        own[entry["name"]] = field(source, pod, place) if source else expand(str(entry.get("value", "")), own)
    return {**made, **own}


def command(container: Mapping[str, Any], env: Mapping[str, str]) -> list[str]:
    """Raises BadManifest for a container that leaves its command to an image: there is none here."""
    words: Sequence[str] = [*(container.get("command") or ()), *(container.get("args") or ())]
    if not container.get("command"):
        raise BadManifest(
            f"container {container['name']} has no command, and a local pod has no image to take one from"
        )
    return [expand(word, env) for word in words]


def expand(text: str, env: Mapping[str, str]) -> str:
    """$(NAME) as Kubernetes does it: unknown names stay as they are, $$ is one dollar."""
    return REFERENCE.sub(lambda m: "$" if m[1] is None else env.get(m[1], m[0]), text)


def field(source: Mapping[str, Any], pod: Object, place: Place) -> str:
    path = (source.get("fieldRef") or {}).get("fieldPath", "")
    metadata = pod["metadata"]
    known = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "status.podIP": place.address,
        "status.hostIP": "127.0.0.1",
        "spec.nodeName": "local",
    }
    if path not in known:
        raise BadManifest(f"env: a local pod knows fieldRef {sorted(known)}, not {path or sorted(source)}")
    return str(known[path])


def container_ports(pod: Object) -> list[int]:
    """TCP ports of a pod, host ports or not: every pod has an address of its own."""
    ports = [port for container in pod["spec"]["containers"] for port in container.get("ports") or ()]
    return [int(port["containerPort"]) for port in ports if port.get("protocol", "TCP") == "TCP"]


def port_number(container: Mapping[str, Any], port: int | str) -> int:
    """A probe's port, by number or by the name the container gives it."""
    named = {p.get("name"): p["containerPort"] for p in container.get("ports") or ()}
    if isinstance(port, str) and not port.isdigit() and port not in named:
        raise BadManifest(f"probe: container {container['name']} has no port named {port}")
    return int(named.get(port, port))
