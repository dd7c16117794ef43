"""A monitoring repository as values: its files, those of the shipped pack below them, and what it says of itself. Pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from forebay_operator.model import Finding, MonitoringRefused
from forebay_operator.monitoring.render.document import Node, read
from forebay_operator.monitoring.render.standards import (
    SCHEMA,
    KnownMetric,
    Metrics,
    Override,
    Root,
    Standards,
    merged,
    read_part,
)
from forebay_operator.monitoring.source.base import ROOT_FILE, Tree

PACK = "pack:"
"""Before the name of a file that ships with the operator, in findings."""
READ = re.compile(
    r"forebay\.yaml|metrics\.yaml|standards/(labels|severities|slo|routing|budgets)\.yaml|profiles/[^/]+\.yaml"
    r"|overrides/[^/]+/[^/]+\.yaml|templates/(rules|routes|dashboards|parts)/[^/]+\.j2|tests/rules/[^/]+\.test\.yaml"
    r"|tests/routes\.yaml|tests/golden/.+|runbooks/[^/]+\.md"
)
LEFT_ALONE = re.compile(r"[^/]+\.md|LICENSE[^/]*|CODEOWNERS|\.[^/]+|\.(github|gitlab|ci)/.+|docs/.+|fixtures\.yaml")


@dataclass(frozen=True, slots=True)
class File:
    """`shown`: how findings name it."""

    shown: str
    text: str


@dataclass(frozen=True, slots=True)
class Repository:
    """`overrides`: by (namespace, cluster), sorted."""

    files: Mapping[str, File]
    root: Root
    standards: Standards
    overrides: Mapping[tuple[str, str], Override]
    metrics: tuple[KnownMetric, ...]

    def below(self, folder: str) -> Iterator[tuple[str, File]]:
        """Name below `folder`, and file."""
        return ((path[len(folder) :], file) for path, file in self.files.items() if path.startswith(folder))


def read_repository(tree: Tree, pack: Tree, version: str, profile: str) -> Repository:
    """Raises MonitoringRefused with everything that is wrong in what the repository says of itself."""
    unread = [Finding(path, 0, "MAC206", f"nobody reads a file of this name: {path!r}") for path in tree if odd(path)]
    if unread:
        raise MonitoringRefused(*unread)
    root = read_root(tree, version)
    files = {path: File(path, data.decode()) for path, data in tree.items()}
    if root.pack:
        shipped = {path: File(PACK + path, data.decode()) for path, data in pack.items() if path != ROOT_FILE}
        files = shipped | files
    files = dict(sorted(files.items()))
    overrides = {named(path): read_part(Override, node(files, path)) for path in files if path.startswith("overrides/")}
    metrics = read_part(Metrics, node(files, "metrics.yaml")).metrics
    return Repository(files, root, read_standards(files, profile), overrides, metrics)


def odd(path: str) -> bool:
    return not READ.fullmatch(path) and not LEFT_ALONE.fullmatch(path)


def read_root(tree: Tree, version: str) -> Root:
    where = read(tree[ROOT_FILE].decode(), ROOT_FILE)
    root = read_part(Root, where)
    if root.schema_ != SCHEMA:
        raise where.at("schema").refuse("MAC208", f"schema {root.schema_}; this operator reads {SCHEMA}")
    if numbers(root.operator) > numbers(version):
        raise where.at("operator").refuse("MAC208", f"made for operator {root.operator}; this one is {version}")
    return root


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"[0-9]+", version)[:3])


def read_standards(files: Mapping[str, File], profile: str) -> Standards:
    """standards/*.yaml, with profiles/<profile>.yaml over them."""
    parts = {name: node(files, f"standards/{name}.yaml") for name in sorted(Standards.model_fields)}
    below = Node({name: one for name, one in parts.items() if one.value is not None}, (ROOT_FILE, 1))
    above = node(files, f"profiles/{profile}.yaml") if profile else Node(None, (ROOT_FILE, 1))
    if profile and f"profiles/{profile}.yaml" not in files:
        raise above.refuse("MAC206", f"there is no profile {profile!r}")
    return read_part(Standards, merged(below, above))


def node(files: Mapping[str, File], path: str) -> Node:
    file = files.get(path)
    return read(file.text, file.shown) if file else Node(None, (path, 0))


def named(path: str) -> tuple[str, str]:
    _, namespace, name = path.removesuffix(".yaml").split("/")
    return namespace, name
