"""Helm, and an API server that enforces Pod Security and owner references, and writes an audit log."""

import functools
import json
import pathlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from tests.rigs import controlplane
from tests.rigs.controlplane import ControlPlane
from tests.rigs.helm import Helm, Object, program

ROOT = pathlib.Path(__file__).parents[2]
POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [{"level": "Metadata", "userGroups": ["system:serviceaccounts"]}, {"level": "None"}],
}


@dataclass(frozen=True, slots=True)
class Server:
    """`audit`: what service accounts asked, a JSON object a line."""

    plane: ControlPlane
    audit: pathlib.Path

    def namespace(self, security: str = "") -> str:
        """A new one; `security`: what its Pod Security enforces."""
        name = self.plane.namespace()
        if security:
            labels = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": security}}}
            kind = "application/merge-patch+json"
            status, reply = self.plane.call("PATCH", f"/api/v1/namespaces/{name}", labels, kind)
            assert status == 200, reply
        return name

    def path(self, api_version: str, kind: str, namespace: str = "") -> str:
        root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        plural, namespaced = self._resources(root)[kind]
        return f"{root}/namespaces/{namespace}/{plural}" if namespaced else f"{root}/{plural}"

    def apply(self, body: Object, *, dry: bool = False) -> tuple[int, Any]:
        """Server-side apply with strict validation."""
        metadata = body["metadata"]
        at = self.path(body["apiVersion"], body["kind"], metadata.get("namespace", ""))
        query = "fieldManager=test&force=true&fieldValidation=Strict" + ("&dryRun=All" if dry else "")
        return self.plane.call("PATCH", f"{at}/{metadata['name']}?{query}", body, "application/apply-patch+yaml")

    def try_pod(self, namespace: str, template: Mapping[str, Any]) -> tuple[int, str]:
        """What the API server says to a pod of this template, without making it."""
        metadata = {"name": "try", "namespace": namespace, "labels": template["metadata"].get("labels", {})}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        status, reply = self.plane.call("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", pod)
        return status, str(reply.get("message", ""))

    def token(self, namespace: str, account: str) -> str:
        """With which a pod of a service account would ask."""
        at = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        status, reply = self.plane.call("POST", at, {"spec": {"expirationSeconds": 3600}})
        assert status == 201, reply
        return str(reply["status"]["token"])

    def audited(self, user: str) -> list[Mapping[str, Any]]:
        events = [json.loads(line) for line in self.audit.read_text().splitlines()]
        return [event for event in events if event["user"]["username"] == user]

    def _resources(self, root: str) -> Mapping[str, tuple[str, bool]]:
        return resources(self.plane, root)


@functools.cache
def resources(plane: ControlPlane, root: str) -> Mapping[str, tuple[str, bool]]:
    status, reply = plane.call("GET", root)
    assert status == 200, reply
    return {one["kind"]: (one["name"], one["namespaced"]) for one in reply["resources"] if "/" not in one["name"]}


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    programs = controlplane.program_folder()
    if isinstance(programs, str):
        pytest.skip(programs)
    with tempfile.TemporaryDirectory(prefix="forebay-charts-") as name:
        folder = pathlib.Path(name)
        policy, audit = folder / "policy.yaml", folder / "audit.log"
        policy.write_text(yaml.safe_dump(POLICY))
        audit.touch()
        flags = [f"--audit-policy-file={policy}", f"--audit-log-path={audit}", "--audit-log-mode=blocking-strict"]
        flags.append("--enable-admission-plugins=OwnerReferencesPermissionEnforcement")
        with controlplane.control_plane(folder, programs, flags) as plane:
            plane.install(ROOT / "crds")
            yield Server(plane, audit)


@pytest.fixture(scope="session")
def helm() -> Iterator[Helm]:
    """For what needs no server."""
    path, missing = program()
    if missing:
        pytest.skip(missing)
    with tempfile.TemporaryDirectory(prefix="forebay-helm-") as folder:
        yield Helm(path, pathlib.Path(folder))
