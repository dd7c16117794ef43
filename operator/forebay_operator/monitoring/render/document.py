"""YAML in which every value knows its line. Aliases and duplicate keys are refused: a reviewer should see what is meant."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from forebay_operator.model import Finding, MonitoringRefused

Place = tuple[str, int]
"""File and line."""
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
NODE_LIMIT = 500_000
DEPTH_LIMIT = 40
COLLECTIONS = frozenset({"tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"})
NUMBERS = frozenset({"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"})
FLAGS = {"true": True, "false": False}
TEXTS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "timestamp", "bool", "null", "value", "merge"))


@dataclass(frozen=True, slots=True)
class Node:
    """`value`: text, number, flag or None, a tuple of Nodes, or a mapping of names to Nodes."""

    value: Any
    place: Place

    def plain(self) -> Any:
        if isinstance(self.value, tuple):
            return [one.plain() for one in self.value]
        if isinstance(self.value, Mapping):
            return {name: one.plain() for name, one in self.value.items()}
        return self.value

    def at(self, *path: str | int) -> "Node":
        """The deepest node on the way along `path`."""
        node = self
        for step in path:
            inner = node.value
            if isinstance(inner, Mapping) and step in inner:
                node = inner[str(step)]
            elif isinstance(inner, tuple) and isinstance(step, int) and step < len(inner):
                node = inner[step]
            else:
                break
        return node

    def refuse(self, code: str, message: str) -> MonitoringRefused:
        return MonitoringRefused(Finding(*self.place, code, message))


def read(text: str, file: str, places: Sequence[Place] = ()) -> Node:
    """The one document of `text`. `places`: of each line, where it came from. Raises MonitoringRefused."""
    try:
        root = yaml.compose(text, Loader=Loader)
        return Reader(file, places).node(root, 0) if root else Node(None, (file, 1))
    except yaml.YAMLError as exc:
        line, said = told(exc)
        raise MonitoringRefused(Finding(*place_of(file, places, line), "MAC205", said)) from exc


def told(exc: yaml.YAMLError) -> tuple[int, str]:
    if isinstance(exc, yaml.MarkedYAMLError) and exc.problem_mark:
        return exc.problem_mark.line, f"is not YAML: {exc.problem}"
    return 0, f"is not YAML: {' '.join(str(exc).split())}"


def place_of(file: str, places: Sequence[Place], line: int) -> Place:
    """`line` counts from 0."""
    return places[min(line, len(places) - 1)] if places else (file, line + 1)


class Reader:
    """One document; counts what it makes, because an alias can stand for thousands of nodes."""

    def __init__(self, file: str, places: Sequence[Place]) -> None:
        self._file, self._places = file, places
        self._seen = set[int]()

    def node(self, node: yaml.Node, depth: int) -> Node:
        place = place_of(self._file, self._places, node.start_mark.line)
        if id(node) in self._seen or depth > DEPTH_LIMIT or len(self._seen) >= NODE_LIMIT:
            raise Node(None, place).refuse("MAC205", "an alias, or more nodes than a document may have; write it out")
        self._seen.add(id(node))
        if not isinstance(node, yaml.ScalarNode) and node.tag not in COLLECTIONS:
            raise Node(None, place).refuse("MAC205", f"the tag {node.tag} is not read")
        if isinstance(node, yaml.SequenceNode):
            return Node(tuple(self.node(one, depth + 1) for one in node.value), place)
        if isinstance(node, yaml.MappingNode):
            return Node(self.mapping(node, depth), place)
        return Node(scalar(node, place), place)

    def mapping(self, node: yaml.MappingNode, depth: int) -> Mapping[str, Node]:
        found: dict[str, Node] = {}
        for key, value in node.value:
            name = self.node(key, depth + 1)
            if not isinstance(name.value, str):
                raise name.refuse("MAC205", f"a key has to be text, and {name.value!r} is not")
            if name.value in found:
                raise name.refuse("MAC205", f"the key {name.value!r} is there twice")
            found[name.value] = self.node(value, depth + 1)
        return found


def scalar(node: yaml.Node, place: Place) -> Any:
    """Text stays text but for plain numbers, true, false and null (YAML 1.1's `on`, `12:30` and dates are text)."""
    text = str(node.value)
    if node.tag in NUMBERS and not text.startswith(("0x", "0b", "0o")) and ":" not in text and "_" not in text:
        number = float(text.replace(".inf", "inf").replace(".nan", "nan"))
        return int(text) if node.tag.endswith("int") else number
    if node.tag.endswith(":null") and text in ("", "~", "null"):
        return None
    if node.tag.endswith(":bool"):
        return FLAGS.get(text.lower(), text)
    if node.tag not in TEXTS | NUMBERS:
        raise Node(None, place).refuse("MAC205", f"the tag {node.tag} is not read")
    return text
