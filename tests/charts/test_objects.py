"""What the chart renders, before a real API server: every object taken, Pod Security enforced, installed and gone again."""

import pathlib
import re
from typing import Any

import pytest
import yaml
from tests.charts.conftest import Server
from tests.rigs import objects
from tests.rigs.helm import CHART, Helm, of_kind, only

from forebay_operator.api.v1alpha1 import CacheClusterSpec
from forebay_operator.desired.workload import member_set

pytestmark = pytest.mark.kube
VALUES = sorted((pathlib.Path(__file__).parent / "values").glob("*.yaml"))
STORAGE = {
    "claim": {"capacity": "1Gi", "claim": {}},
    "emptyDir": {"capacity": "1Gi", "emptyDir": {}},
    "hostPath": {"capacity": "1Gi", "hostPath": {"path": "/mnt/nvme"}},
}


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_the_api_server_takes_every_object(server: Server, helm: Helm, values: pathlib.Path) -> None:
    namespace, agents = server.namespace(), server.namespace()
    others = [server.namespace(), server.namespace()]
    settings = ["--values", str(values), "--set", f"agent.namespace.name={agents}"]
    if values.stem == "everything":
        settings += ["--set", f"namespaces={{{','.join(others)}}}"]
    rendered = helm.template(namespace, *settings)
    refused = []
    for body in rendered:
        status, reply = server.apply(body, dry=True)
        if status not in (200, 201):
            refused.append((body["kind"], body["metadata"]["name"], reply.get("message")))
    assert not refused, refused
    assert {one["kind"] for one in rendered} >= {
        "Deployment",
        "ServiceAccount",
        "Role",
        "RoleBinding",
        "Service",
        "Pod",
    }


def test_operator_and_test_pod_run_where_pods_are_restricted(server: Server, helm: Helm) -> None:
    namespace = server.namespace("restricted")
    rendered = helm.template(namespace)
    for template in (only(rendered, "Deployment")["spec"]["template"], only(rendered, "Pod")):
        assert server.try_pod(namespace, template) == (201, "")


@pytest.mark.parametrize("storage", STORAGE)
def test_members_run_where_pods_are_restricted_but_for_host_paths(server: Server, storage: str) -> None:
    namespace = server.namespace("restricted")
    status, reply = server.try_pod(namespace, member_template(namespace, storage))
    if storage == "hostPath":
        assert status == 403
        assert "hostPath" in reply
        assert server.try_pod(server.namespace("privileged"), member_template(namespace, storage)) == (201, "")
    else:
        assert (status, reply) == (201, "")


def test_the_agent_runs_in_the_namespace_that_the_chart_labels_and_in_no_other(server: Server, helm: Helm) -> None:
    agents = f"{server.namespace()}-agents"
    rendered = helm.template(server.namespace(), "--set", f"agent.namespace.name={agents}")
    status, reply = server.apply(only(rendered, "Namespace"))
    assert status == 201, reply
    template = only(rendered, "DaemonSet")["spec"]["template"]
    assert server.try_pod(agents, template) == (201, "")
    status, message = server.try_pod(server.namespace("baseline"), template)
    assert (status, "privileged" in message) == (403, True)


def test_it_is_installed_upgraded_rolled_back_and_gone_but_for_the_crds(
    server: Server, helm: Helm, tmp_path: pathlib.Path
) -> None:
    namespace = server.namespace("restricted")
    live = Helm(helm.path, tmp_path, server.plane.kubeconfig)
    where = ["--namespace", namespace]
    agents = ["--set", f"agent.namespace.name={namespace}-agents"]
    taking = ["--take-ownership", "--force-conflicts"]  # the CRDs, which the tests' server has already
    notes = live.done("install", "one", str(CHART), *where, *agents, *taking)
    assert f"kubectl get fbc,fbd -n {namespace}" in notes
    assert replicas(server, namespace) == 1
    live.done("upgrade", "one", str(CHART), *where, *agents, "--set", "operator.replicas=2")
    assert (replicas(server, namespace), len(listed(server, "policy/v1", "PodDisruptionBudget", namespace))) == (2, 1)
    live.done("rollback", "one", "1", *where)
    assert (replicas(server, namespace), len(listed(server, "policy/v1", "PodDisruptionBudget", namespace))) == (1, 0)
    said = live.run("uninstall", "one", *where)
    assert said.returncode == 0, said.stderr
    for api_version, kind in (
        ("apps/v1", "Deployment"), ("v1", "Service"), ("v1", "ServiceAccount"), ("v1", "Secret"), ("v1", "ConfigMap"),
        ("rbac.authorization.k8s.io/v1", "Role"), ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ):  # fmt: skip
        assert listed(server, api_version, kind, namespace) == [], kind
    assert "csi.forebay.dev" not in listed(server, "storage.k8s.io/v1", "CSIDriver")
    kept = listed(server, "apiextensions.k8s.io/v1", "CustomResourceDefinition")
    assert {"cacheclusters.forebay.dev", "datasets.forebay.dev"} <= set(kept)


def test_what_the_notes_say_to_apply_is_taken(server: Server, helm: Helm, tmp_path: pathlib.Path) -> None:
    namespace = server.namespace()
    live = Helm(helm.path, tmp_path, server.plane.kubeconfig)
    settings = ["--set", "crds.install=false,agent.enabled=false"]
    notes = live.done("install", "two", str(CHART), "--namespace", namespace, *settings)
    (manifests,) = re.findall(r"<<END\n(.*?)\nEND\n", notes, re.DOTALL)
    bodies: list[Any] = list(yaml.safe_load_all(manifests))
    assert [one["kind"] for one in bodies] == ["CacheCluster", "Dataset"]
    for body in bodies:
        body["metadata"]["namespace"] = namespace
        status, reply = server.apply(body)
        assert status == 201, reply
    assert not of_kind(helm.template(namespace, *settings), "DaemonSet")


def member_template(namespace: str, storage: str) -> Any:
    """Of the StatefulSet that the operator makes; a claim's volume as its controller adds it."""
    owner = objects.cluster(namespace)
    owner["metadata"]["uid"] = "0"
    spec = CacheClusterSpec.model_validate({"storage": STORAGE[storage]})
    template: Any = member_set(owner, spec).body["spec"]["template"]
    if storage == "claim":
        template["spec"]["volumes"].append({"name": "data", "persistentVolumeClaim": {"claimName": "data-main-0"}})
    return template


def replicas(server: Server, namespace: str) -> int:
    _, reply = server.plane.call("GET", server.path("apps/v1", "Deployment", namespace))
    (one,) = reply["items"]
    return int(one["spec"]["replicas"])


def listed(server: Server, api_version: str, kind: str, namespace: str = "") -> list[str]:
    _, reply = server.plane.call("GET", server.path(api_version, kind, namespace))
    return [one["metadata"]["name"] for one in reply["items"]]
