"""The chart without a server: it lints, its values are documented, and what it configures is what our programs read."""

import json
import pathlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml
from tests.rigs.helm import CHART, Helm, Object, of_kind, only

from forebay_cache.contract.agent import AgentConfig
from forebay_cache.contract.volume import DRIVER, CsiConfig
from forebay_operator.__main__ import parse

ROOT = pathlib.Path(__file__).parents[2]
VALUES = sorted((pathlib.Path(__file__).parent / "values").glob("*.yaml"))
BAD = {
    "operator.replicas=-1": "/operator/replicas",
    "operator.healthPort=80": "/operator/healthPort",
    "operator.nosuch=1": "/operator",
    "image.repository=": "/image/repository",
    "image.digest=latest": "/image/digest",
    "image.pullPolicy=Sometimes": "/image/pullPolicy",
    "namespaces={Upper}": "/namespaces/0",
    "agent.kubeletDir=var/lib": "/agent/kubeletDir",
    "agent.workers=17": "/agent/workers",
    "agent.namespace.name=": "/agent/namespace/name",
    "agent.namespace.name=here": "namespace of its own|one of its own",
    "nosuch=1": "nosuch",
}


def leaves(
    values: Mapping[str, Any], schema: Mapping[str, Any], at: str = ""
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each value that is no group, and its schema."""
    for name, value in values.items():
        below = schema["properties"][name]
        if "properties" in below and isinstance(value, dict) and not name.lower().endswith("resources"):
            yield from leaves(value, below, f"{at}{name}.")
        else:
            yield f"{at}{name}", below


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_it_lints(helm: Helm, values: pathlib.Path) -> None:
    helm.done("lint", "--strict", str(CHART), "--values", str(values))


@pytest.mark.parametrize("setting", BAD)
def test_a_bad_value_is_refused_by_name(helm: Helm, setting: str) -> None:
    result = helm.run("template", "forebay", str(CHART), "--namespace", "here", "--set", setting)
    assert result.returncode != 0
    assert re.search(BAD[setting], result.stderr), result.stderr


def test_every_value_is_described_where_it_is_set_and_where_it_is_checked() -> None:
    text, schema = (CHART / "values.yaml").read_text(), json.loads((CHART / "values.schema.json").read_text())
    lines = [line for line in text.splitlines() if line.strip()]
    for path, below in leaves(yaml.safe_load(text), schema):
        assert below.get("description"), path
        name = path.rsplit(".", 1)[-1]
        assert re.search(rf"#[^\n]*\n *{name}:", "\n".join(lines)), f"{path} has no comment above it"


def test_every_value_that_is_checked_has_its_default_in_sight() -> None:
    def names(values: Any, schema: Mapping[str, Any], at: str = "") -> Iterator[str]:
        for name, below in schema.get("properties", {}).items():
            if name not in (values or {}):
                yield at + name
            elif isinstance(values[name], dict) and not name.lower().endswith("resources"):
                yield from names(values[name], below, f"{at}{name}.")

    schema = json.loads((CHART / "values.schema.json").read_text())
    assert list(names(yaml.safe_load((CHART / "values.yaml").read_text()), schema)) == ["global"]


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_the_operators_arguments_are_what_it_parses(helm: Helm, values: pathlib.Path) -> None:
    objects = helm.template("here", "--values", str(values))
    (container,) = only(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    options = parse(container["args"], {"POD_NAMESPACE": "here"})
    given = yaml.safe_load(values.read_text()) or {}
    wanted = () if given.get("allNamespaces") else tuple(given.get("namespaces") or ["here"])
    assert options.watched == wanted
    assert options.port == container["ports"][0]["containerPort"]
    bound = {
        one["metadata"]["namespace"]
        for one in of_kind(objects, "RoleBinding")
        if "election" not in one["metadata"]["name"]
    }
    assert bound == set(wanted)
    leases = [rule for role in of_kind(objects, "Role") for rule in role["rules"] if "resourceNames" in rule]
    assert [rule["resourceNames"] for rule in leases] == [[options.lease.name]]


@pytest.mark.parametrize("values", [path for path in VALUES if path.stem != "bare"], ids=lambda path: path.stem)
def test_agent_and_csi_node_read_their_documents(helm: Helm, values: pathlib.Path) -> None:
    objects = helm.template("here", "--values", str(values))
    data = only(objects, "ConfigMap")["data"]
    agent, csi = AgentConfig.model_validate_json(data["agent.json"]), CsiConfig.model_validate_json(data["csi.json"])
    assert agent.socket == csi.agent_socket
    spec = only(objects, "DaemonSet")["spec"]["template"]["spec"]
    mounts = {one["name"]: one["mountPath"] for one in spec["containers"][0]["volumeMounts"]}
    paths = {one["name"]: one["hostPath"]["path"] for one in spec["volumes"] if "hostPath" in one}
    assert mounts["kubelet"] == paths["kubelet"] == csi.kubelet_dir  # the kubelet's paths are the same inside
    assert pathlib.PurePath(agent.socket).is_relative_to(mounts["run"])
    assert pathlib.PurePath(agent.member_sockets).is_relative_to(mounts["run"])
    assert spec["containers"][1]["ports"][0]["containerPort"] == csi.health_port
    assert only(objects, "CSIDriver")["metadata"]["name"] == DRIVER


def test_gpu_nodes_get_an_agent(helm: Helm) -> None:
    tolerations = only(helm.template("here"), "DaemonSet")["spec"]["template"]["spec"]["tolerations"]
    keys = {one["key"] for one in tolerations if one["operator"] == "Exists" and "effect" not in one}
    assert {"nvidia.com/gpu", "amd.com/gpu", "habana.ai/gaudi"} <= keys


def test_two_releases_take_nothing_from_each_other(helm: Helm) -> None:
    def named(release: str) -> set[tuple[str, str]]:
        text = helm.done(
            "template", release, str(CHART), "-n", release, "--set", "crds.install=false,agent.enabled=false"
        )
        return {(one["kind"], one["metadata"]["name"]) for one in yaml.safe_load_all(text) if one}

    assert not named("one") & named("two")


def test_the_crds_are_those_of_the_models_and_stay(helm: Helm) -> None:
    rendered = {one["metadata"]["name"]: one for one in of_kind(helm.template("here"), "CustomResourceDefinition")}
    wanted: list[Object] = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "crds").glob("*.yaml"))]
    assert len(wanted) == len(rendered)
    for crd in wanted:
        crd["metadata"]["annotations"] = {"helm.sh/resource-policy": "keep"}
        assert rendered[crd["metadata"]["name"]] == crd


def test_a_drift_of_the_crds_is_noticed(tmp_path: pathlib.Path) -> None:
    for folder in ("crds", "tools", "charts"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    check = [sys.executable, str(tmp_path / "tools" / "chart.py"), "--check"]
    assert subprocess.run(check, check=False, timeout=30).returncode == 0
    crd = tmp_path / "crds" / "forebay.dev_datasets.yaml"
    crd.write_text(crd.read_text().replace("shortNames", "shortNamess"))
    result = subprocess.run(check, check=False, timeout=30, capture_output=True, text=True)
    assert (result.returncode, "make gen" in result.stderr) == (1, True)
