from typing import Any

import pytest
from tests.rigs import objects

from forebay_operator.api import v1alpha1 as api
from forebay_operator.desired.workload import DEFAULT_IMAGE, member_set

OWNER = {**objects.cluster("ns"), "metadata": {"name": "main", "namespace": "ns", "uid": "c-1"}}


def made(**spec: Any) -> Any:
    return member_set(OWNER, api.CacheCluster.model_validate(objects.cluster("ns", **spec)).spec).body


def container(**spec: Any) -> Any:
    (found,) = made(**spec)["spec"]["template"]["spec"]["containers"]
    return found


@pytest.mark.parametrize(
    ("image", "name", "policy"),
    [
        (None, DEFAULT_IMAGE, None),
        ({"repository": "r/f", "tag": "1"}, "r/f:1", "IfNotPresent"),
        (
            {"repository": "r/f", "digest": "sha256:" + "0" * 64, "pullPolicy": "Always"},
            "r/f@sha256:" + "0" * 64,
            "Always",
        ),
    ],
)
def test_the_image_is_the_one_asked_for(image: Any, name: str, policy: str | None) -> None:
    found = container(image=image) if image else container()
    assert (found["image"], found.get("imagePullPolicy")) == (name, policy)


@pytest.mark.parametrize(
    ("storage", "volume", "claims"),
    [
        ({"emptyDir": {}}, {"name": "data", "emptyDir": {}}, None),
        (
            {"hostPath": {"path": "/d"}},
            {"name": "data", "hostPath": {"path": "/d", "type": "DirectoryOrCreate"}},
            None,
        ),
        ({"claim": {"storageClassName": "fast"}}, None, "fast"),
    ],
)
def test_chunks_lie_where_the_spec_says(storage: Any, volume: Any, claims: str | None) -> None:
    spec = made(storage={"capacity": "2Gi", **storage})["spec"]
    volumes = {one["name"]: one for one in spec["template"]["spec"]["volumes"]}
    assert volumes.get("data") == volume
    templates = spec.get("volumeClaimTemplates", [])
    assert [one["spec"].get("storageClassName") for one in templates] == ([claims] if claims else [])
    assert all(one["spec"]["resources"]["requests"]["storage"] == "2Gi" for one in templates)
    mounted = {one["name"] for one in spec["template"]["spec"]["containers"][0]["volumeMounts"]}
    assert mounted == {"config", "state", "admin", "run", "data"}


def test_restarts_are_the_operators_and_members_start_together() -> None:
    spec = made(replicas=0)["spec"]
    assert (spec["updateStrategy"]["type"], spec["podManagementPolicy"], spec["replicas"]) == (
        "OnDelete",
        "Parallel",
        0,
    )


def test_a_pod_keeps_to_the_restricted_standard() -> None:
    pod = made()["spec"]["template"]["spec"]
    inside = pod["containers"][0]["securityContext"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert not pod["automountServiceAccountToken"]
    assert (inside["allowPrivilegeEscalation"], inside["readOnlyRootFilesystem"]) == (False, True)
    assert (inside["capabilities"], inside["seccompProfile"]) == ({"drop": ["ALL"]}, {"type": "RuntimeDefault"})


def test_probes_ask_the_admin_port_over_tls_and_the_member_listens_on_its_pods_address() -> None:
    found = container(s3={"port": 7999})
    for probe in (found["readinessProbe"], found["livenessProbe"]):
        assert (probe["httpGet"]["port"], probe["httpGet"]["scheme"]) == ("admin", "HTTPS")
    assert found["command"][-2:] == ["--host", "$(POD_IP)"]
    assert found["env"][0]["valueFrom"]["fieldRef"]["fieldPath"] == "status.podIP"
    assert {one["name"]: one["containerPort"] for one in found["ports"]} == {"s3": 7999, "admin": 9450, "peer": 9451}


def test_resources_are_passed_on_as_they_are_written() -> None:
    asked = {"requests": {"cpu": "500m"}, "limits": {"memory": "1Gi"}}
    assert container(resources=asked)["resources"] == asked
    assert "resources" not in container()
