"""Rule files as values that know their lines. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forebay_operator.model import Finding
from forebay_operator.monitoring.render.document import Node, Place
from forebay_operator.monitoring.render.durations import seconds

GROUP_FIELDS = frozenset({"name", "interval", "rules", "limit", "query_offset", "labels"})
RULE_FIELDS = frozenset({"alert", "record", "expr", "for", "keep_firing_for", "labels", "annotations"})
ALERT_FIELDS = frozenset({"for", "keep_firing_for", "annotations"})


@dataclass(frozen=True, slots=True)
class Rule:
    """`alerting`: an alert, else a recording. `for_s` and `keep_s`: seconds; 0 where left out."""

    alerting: bool
    name: str
    expr: str
    for_s: float
    keep_s: float
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    node: Node

    def place(self, *path: str) -> Place:
        return self.node.at(*path).place


@dataclass(frozen=True, slots=True)
class Group:
    name: str
    rules: tuple[Rule, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class RuleFile:
    """`name`: as tests name it, like `slo.yaml`. `plain`: its groups as they are sent."""

    name: str
    file: str
    text: str
    groups: tuple[Group, ...]
    plain: Sequence[Any]


def read_rules(name: str, text: str, node: Node) -> tuple[RuleFile, list[Finding]]:
    """What can be read of a rendered file, and what is wrong with the rest (MAC206)."""
    reader = Reader()
    groups = tuple(reader.groups(node))
    plain = node.plain() or {}
    listed = plain.get("groups") or [] if isinstance(plain, Mapping) else []
    return RuleFile(name, node.place[0], text, groups, listed), reader.findings


class Reader:
    """Collects what is wrong on the way."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def groups(self, node: Node) -> Iterator[Group]:
        fields = self._fields(node, frozenset({"groups"}))
        for one in self._items(fields.get("groups")):
            yield self._group(one)

    def _group(self, node: Node) -> Group:
        fields = self._fields(node, GROUP_FIELDS)
        name = self._text(fields, "name", node)
        if "interval" in fields:
            self._seconds(fields, "interval")
        rules = [rule for one in self._items(fields.get("rules")) if (rule := self._rule(one))]
        return Group(name, tuple(rules), node.place)

    def _rule(self, node: Node) -> Rule | None:
        fields = self._fields(node, RULE_FIELDS)
        if ("alert" in fields) == ("record" in fields):
            self._say(node, "a rule has either `alert` or `record`")
            return None
        alerting = "alert" in fields
        for wrong in sorted(ALERT_FIELDS & fields.keys()) if not alerting else ():
            self._say(fields[wrong], f"a recording has no `{wrong}`")
        return Rule(
            alerting,
            self._text(fields, "alert" if alerting else "record", node),
            self._text(fields, "expr", node),
            self._seconds(fields, "for"),
            self._seconds(fields, "keep_firing_for"),
            self._texts(fields.get("labels")),
            self._texts(fields.get("annotations")),
            node,
        )

    def _fields(self, node: Node, known: frozenset[str]) -> Mapping[str, Node]:
        if not isinstance(node.value, Mapping):
            self._say(node, f"expected a mapping with {', '.join(sorted(known))}")
            return {}
        for name, value in node.value.items():
            if name not in known:
                self._say(value, f"nobody reads `{name}`; known: {', '.join(sorted(known))}")
        return node.value

    def _items(self, node: Node | None) -> tuple[Node, ...]:
        if node is None or node.value is None:
            return ()
        if not isinstance(node.value, tuple):
            self._say(node, "expected a list")
            return ()
        return node.value

    def _text(self, fields: Mapping[str, Node], name: str, node: Node) -> str:
        found = fields.get(name)
        if found is None or found.value is None or isinstance(found.value, tuple | Mapping) or found.value == "":
            self._say(found or node, f"`{name}` has to be a text")
            return ""
        return str(found.value)

    def _texts(self, node: Node | None) -> Mapping[str, str]:
        if node is None or node.value is None:
            return {}
        if not isinstance(node.value, Mapping):
            self._say(node, "expected a mapping of names to texts")
            return {}
        return {name: self._text(node.value, name, node) for name in node.value}

    def _seconds(self, fields: Mapping[str, Node], name: str) -> float:
        if name not in fields:
            return 0
        try:
            return seconds(str(fields[name].value))
        except ValueError as exc:
            self._say(fields[name], f"`{name}`: {exc}")
            return 0

    def _say(self, node: Node, message: str) -> None:
        self.findings.append(Finding(*node.place, "MAC206", message))
