"""A routing tree, read and walked as Alertmanager does. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from forebay_operator.model import Finding
from forebay_operator.monitoring.lint.matchers import Matcher, read_matcher
from forebay_operator.monitoring.render.document import Node, Place

DEPTH_LIMIT = 16
DEFAULTS: Mapping[str, str] = {"group_wait": "30s", "group_interval": "5m", "repeat_interval": "4h"}
"""Alertmanager's own."""
FIELDS = frozenset({"receiver", "matchers", "group_by", "continue", "routes", *DEFAULTS}) | {
    "mute_time_intervals",
    "active_time_intervals",
}
EMPTY = Node(None, ("", 0))


@dataclass(frozen=True, slots=True)
class Route:
    """One node, with what it inherits. `settings`: durations as written."""

    receiver: str
    matchers: tuple[Matcher, ...]
    group_by: tuple[str, ...]
    settings: Mapping[str, str]
    goes_on: bool
    routes: tuple["Route", ...]
    node: Node

    def place(self, field: str) -> Place:
        return self.node.at(field).place

    def fits(self, labels: Mapping[str, str]) -> bool:
        return all(one.fits(labels) for one in self.matchers)

    def taken(self, labels: Mapping[str, str]) -> Iterator["Route"]:
        """Where an alert that came in here ends: the deepest nodes that fit."""
        found = False
        for child in self.routes:
            if child.fits(labels):
                found = True
                yield from child.taken(labels)
                if not child.goes_on:
                    return
        if not found:
            yield self

    def every(self) -> Iterator["Route"]:
        yield self
        for child in self.routes:
            yield from child.every()


TOP = Route("", (), (), DEFAULTS, goes_on=False, routes=(), node=EMPTY)


class Reader:
    """Collects what is wrong with a tree on the way."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def route(self, node: Node, above: Route = TOP, depth: int = 0) -> Route:
        fields: Mapping[str, Node] = node.value if isinstance(node.value, Mapping) else {}
        if not fields or depth > DEPTH_LIMIT:
            self.say(node, f"a route is a mapping, at most {DEPTH_LIMIT} deep")
            return above
        for name in sorted(fields.keys() - FIELDS):
            self.say(fields[name], f"nobody reads `{name}` (`match` and `match_re` became `matchers`)")
        group_by = above.group_by
        if "group_by" in fields:
            group_by = tuple(str(one.value) for one in items(fields["group_by"]))
        made = Route(
            str(fields["receiver"].value) if "receiver" in fields else above.receiver,
            tuple(self.matchers(fields.get("matchers", EMPTY))),
            group_by,
            {**above.settings, **{name: str(fields[name].value) for name in DEFAULTS if name in fields}},
            fields.get("continue", EMPTY).value is True,
            (),
            node,
        )
        inner = items(fields.get("routes", EMPTY))
        return replace(made, routes=tuple(self.route(one, made, depth + 1) for one in inner))

    def matchers(self, node: Node) -> Iterator[Matcher]:
        for one in items(node):
            try:
                yield read_matcher(str(one.value))
            except ValueError as exc:
                self.say(one, str(exc))

    def say(self, node: Node, message: str) -> None:
        self.findings.append(Finding(*node.place, "MAC604", message))


def items(node: Node) -> tuple[Node, ...]:
    return node.value if isinstance(node.value, tuple) else ()
