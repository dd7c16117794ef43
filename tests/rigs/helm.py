"""Helm on our chart. e2e/helm/build.sh makes the program; `program` says why there is none, where that is so."""

import os
import pathlib
import subprocess
from collections.abc import Sequence
from typing import Any

import yaml

ROOT = pathlib.Path(__file__).parents[2]
BUILD, CHART = ROOT / "e2e" / "helm" / "build.sh", ROOT / "charts" / "forebay"
DEADLINE_S = 60
Object = dict[str, Any]


def program() -> tuple[str, str]:
    """The path, and why it cannot be used; one of the two is empty."""
    found = subprocess.run([BUILD, "--path"], check=True, capture_output=True, text=True, timeout=30)
    path = found.stdout.strip()
    return (path, "") if os.access(path, os.X_OK) else ("", f"no Helm in {path}: e2e/helm/build.sh makes it")


class Helm:
    """`folder` is where it keeps what it keeps."""

    def __init__(self, path: str, folder: pathlib.Path, kubeconfig: pathlib.Path | None = None) -> None:
        self.path, self.kubeconfig = path, kubeconfig
        self.environment = {**os.environ, "HELM_CACHE_HOME": str(folder), "HELM_CONFIG_HOME": str(folder)}
        self.environment |= {"HELM_DATA_HOME": str(folder), "KUBECACHEDIR": str(folder)}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [self.path, *arguments]
        if self.kubeconfig:
            command += ["--kubeconfig", str(self.kubeconfig)]
        return subprocess.run(
            command, check=False, env=self.environment, capture_output=True, text=True, timeout=DEADLINE_S
        )

    def done(self, *arguments: str) -> str:
        result = self.run(*arguments)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def template(self, namespace: str, *arguments: str) -> list[Object]:
        """What the chart renders as release `forebay`, hooks too."""
        text = self.done("template", "forebay", str(CHART), "--namespace", namespace, *arguments)
        return [one for one in yaml.safe_load_all(text) if one]


def of_kind(objects: Sequence[Object], kind: str) -> list[Object]:
    return [one for one in objects if one["kind"] == kind]


def only(objects: Sequence[Object], kind: str) -> Object:
    (found,) = of_kind(objects, kind)
    return found
