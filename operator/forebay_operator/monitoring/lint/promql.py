"""An expression, judged on its syntax tree. The home of promql_parser. Pure.

Source: `resultMetric` and the aggregations of Prometheus's engine say which labels a result carries.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import promql_parser as promql

from forebay_operator.monitoring.lint.base import Analysis, Shape
from forebay_operator.monitoring.lint.calls import Calls
from forebay_operator.monitoring.lint.versions import Version, texts_beyond

COMPARISONS = frozenset({"==", "!=", "<", ">", "<=", ">="})
SETS = frozenset({"and", "or", "unless"})
ORDERED = frozenset({"<", ">", "<=", ">="})
CHOOSING = frozenset({"topk", "bottomk", "limitk", "limit_ratio"})
COUNTING = frozenset({"count", "group", "count_values"})
LENGTH_LIMIT = 4096
"""promql_parser recurses, and a deep enough expression ends the process; it also takes time by the square of the length."""
SIGNS = re.compile(r"(?:[-+]\s*){16}")
"""promql_parser takes seconds for a few thousand signs in a row."""
MATCHER = re.compile(r'(\b[a-zA-Z_]\w*)(\s*(?:=~|!~|!=|=)\s*)"(?:[^"\\]|\\.)*"')

Lookup = Callable[[str], Shape | None]
"""A metric or recording by its name."""


def skeleton(text: str) -> str:
    """`text` with one value for all its matchers: what a finding never depends on."""
    return MATCHER.sub(lambda m: m[0] if m[1] == "__name__" else f'{m[1]}{m[2]}"x"', text)


def syntax_fault(text: str) -> str:
    """Why `text` is no PromQL; empty where it is."""
    if len(text) > LENGTH_LIMIT:
        return f"longer than {LENGTH_LIMIT:,} characters"
    if SIGNS.search(text):
        return "sixteen signs in a row"
    try:
        promql.parse(text)
    except ValueError as exc:
        return " ".join(str(exc).split())
    return ""


def analyse(text: str, lookup: Lookup, scrape_s: float, version: Version) -> Analysis:
    """`text` has to parse. `version`: of the Prometheus that will load it."""
    walk = Walk(lookup, scrape_s, version)
    walk.faults += [("MAC305", fault) for fault in texts_beyond(text, version)]
    try:
        shape = walk.of(promql.parse(text), raw=False)
    except RecursionError:
        return Analysis(Shape(), (("MAC301", "nested too deep"),), frozenset())
    if shape.kind in ("matrix", "string"):
        walk.say("MAC302", f"gives a {'range vector' if shape.kind == 'matrix' else 'string'}, which never fires")
    return Analysis(shape, tuple(dict.fromkeys(walk.faults)), frozenset(walk.metrics))


class Walk:
    """One expression. `raw`: a counter's bare value means something there."""

    def __init__(self, lookup: Lookup, scrape_s: float, version: Version) -> None:
        self.faults: list[tuple[str, str]] = []
        self.metrics: set[str] = set()
        self._lookup = lookup
        self._calls = Calls(self.of, self.say, scrape_s, version)

    def say(self, code: str, message: str) -> None:
        self.faults.append((code, message))

    def of(self, node: Any, *, raw: bool) -> Shape:
        handler = HANDLERS.get(type(node))
        if handler is None:
            self.say("MAC301", f"a {type(node).__name__} is not understood")
            return Shape()
        return handler(self, node, raw=raw)

    def inner(self, node: Any, *, raw: bool) -> Shape:
        return self.of(node.expr, raw=raw)

    def subquery(self, node: Any, *, raw: bool) -> Shape:
        return replace(self.of(node.expr, raw=raw), kind="matrix")

    def matrix(self, node: Any, **_raw: bool) -> Shape:
        return replace(self.selector(node.vector_selector, raw=True), kind="matrix")

    def call(self, node: Any, *, raw: bool) -> Shape:
        return self._calls.of(node, raw=raw)

    def selector(self, node: Any, *, raw: bool) -> Shape:
        matchers = node.matchers.matchers
        named = [one.value for one in matchers if one.name == "__name__" and one.op == promql.MatchOp.Equal]
        name = node.name or (named[0] if named else "")
        if not name:
            self.say("MAC303", "a selector has to name its metric")
            return Shape()
        self.metrics.add(name)
        shape = self._lookup(name)
        if shape is None:
            self.say("MAC303", f"no metric, recording or entry of metrics.yaml is called {name}")
            return Shape(labels=frozenset({"*"}))
        for label in shape.lacking(one.name for one in matchers if one.name != "__name__"):
            self.say("MAC304", f"{name} has no label {label}; it has {', '.join(sorted(shape.labels))}")
        if shape.counter and not raw:
            self.say("MAC306", f"{name} is a counter: take rate() or increase() of it")
        return shape

    def aggregate(self, node: Any, *, raw: bool) -> Shape:
        operation = str(node.op)
        self._calls.available(operation)
        inner = self.of(node.expr, raw=raw or operation in COUNTING)
        if operation in CHOOSING:
            return inner
        labels = frozenset[str]()
        if node.modifier and node.modifier.type == promql.AggModifierType.By:
            for label in inner.lacking(node.modifier.labels):
                self.say("MAC304", f"`{operation} by ({label})`: what is inside has no label {label}")
            labels = frozenset(node.modifier.labels)
        elif node.modifier:
            labels = inner.labels - frozenset(node.modifier.labels)
        if operation == "count_values" and isinstance(node.param, promql.StringLiteral):
            labels |= {node.param.val}
        return replace(inner, labels=labels, counter=False, gauge=inner.gauge and operation not in COUNTING)

    def binary(self, node: Any, *, raw: bool) -> Shape:
        operation = str(node.op)
        left = self.of(node.lhs, raw=raw)
        right = self.of(node.rhs, raw=raw or operation in ("and", "unless"))
        fill = node.modifier and node.modifier.fill_values
        if fill and not fill.lhs is fill.rhs is None:
            self._calls.available("fill")
        self._matching(node, left, right)
        if operation in SETS:
            return joined(operation, left, right)
        both = operands(left, right)
        both = replace(both, labels=self._labels(node, left, right))
        if operation not in COMPARISONS:
            share = operation == "/" and left.rate and right.rate and right.kind != "scalar"
            return replace(both, ratio=both.ratio or (share and not right.floor))
        if node.modifier and node.modifier.return_bool:
            return both
        return self._compared(operation, both, node)

    def _compared(self, operation: str, both: Shape, node: Any) -> Shape:
        numbers = [one.val for one in (node.lhs, node.rhs) if isinstance(one, promql.NumberLiteral)]
        hovers = operation in ORDERED and not (operation == ">" and numbers == [0])
        least = operation in (">", ">=") and numbers != [0]
        return replace(both, condition=True, gauge=False, threshold=both.gauge and hovers, floor=least)

    def _matching(self, node: Any, left: Shape, right: Shape) -> None:
        """Whether the labels that are matched on are there."""
        matching = node.modifier and node.modifier.matching
        if not matching or matching.type != promql.LabelModifierType.Include:
            return
        for side, where in ((left, "left"), (right, "right")):
            for label in side.lacking(matching.labels):
                self.say("MAC304", f"`on ({label})`: what is on the {where} has no label {label}")
        card = node.modifier.card
        one = right if card == promql.VectorMatchCardinality.ManyToOne else None
        one = left if card == promql.VectorMatchCardinality.OneToMany else one
        for label in one.lacking(node.modifier.group_labels or ()) if one else ():
            self.say("MAC304", f"`group_left ({label})`: the side of one has no label {label}")

    def _labels(self, node: Any, left: Shape, right: Shape) -> frozenset[str]:
        """Of arithmetic and comparison."""
        if "scalar" in (left.kind, right.kind):
            return left.labels | right.labels
        modifier = node.modifier
        if modifier and modifier.card == promql.VectorMatchCardinality.ManyToOne:
            return left.labels | frozenset(modifier.group_labels or ())
        if modifier and modifier.card == promql.VectorMatchCardinality.OneToMany:
            return right.labels | frozenset(modifier.group_labels or ())
        if modifier and modifier.matching and modifier.matching.type == promql.LabelModifierType.Include:
            return frozenset(modifier.matching.labels)
        return left.labels - frozenset(modifier.matching.labels if modifier and modifier.matching else ())


def literal(_walk: Walk, node: Any, **_raw: bool) -> Shape:
    return Shape("string" if isinstance(node, promql.StringLiteral) else "scalar")


HANDLERS: Mapping[type, Callable[..., Shape]] = {
    promql.NumberLiteral: literal,
    promql.StringLiteral: literal,
    promql.ParenExpr: Walk.inner,
    promql.UnaryExpr: Walk.inner,
    promql.SubqueryExpr: Walk.subquery,
    promql.MatrixSelector: Walk.matrix,
    promql.VectorSelector: Walk.selector,
    promql.AggregateExpr: Walk.aggregate,
    promql.BinaryExpr: Walk.binary,
    promql.Call: Walk.call,
}


def joined(operation: str, left: Shape, right: Shape) -> Shape:
    """`and` and `unless` give what is on the left; `or` gives both."""
    if operation == "unless":
        return replace(left, condition=True)
    if operation == "and":
        guarded = right.floor and not right.ratio
        return replace(
            left,
            ratio=left.ratio and not guarded,
            condition=left.condition or right.condition,
            joined=left.joined or right.joined or (left.condition and right.condition),
            threshold=left.threshold or right.threshold,
        )
    either = operands(left, right)
    return replace(
        either,
        labels=left.labels | right.labels,
        condition=left.condition and right.condition,
        threshold=left.threshold or right.threshold,
        floor=left.floor and right.floor,
        joined=left.joined and right.joined,
    )


def operands(left: Shape, right: Shape) -> Shape:
    """What both sides bring into a result."""
    return Shape(
        kind="scalar" if left.kind == right.kind == "scalar" else "vector",
        gauge=left.gauge or right.gauge,
        rate=left.rate or right.rate,
        ratio=left.ratio or right.ratio,
        condition=left.condition or right.condition,
        threshold=left.threshold or right.threshold,
        floor=left.floor or right.floor,
        absent=left.absent or right.absent,
        joined=left.joined or right.joined,
    )
