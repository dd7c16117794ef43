"""Calls of PromQL functions: what they give, and what they must be given. Pure."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import promql_parser as promql

from forebay_operator.monitoring.lint.base import Shape
from forebay_operator.monitoring.lint.versions import Version, fault

RATES = frozenset({"rate", "irate", "increase"})
OF_GAUGES = frozenset({"delta", "idelta", "deriv", "predict_linear", "holt_winters", "double_exponential_smoothing"})
WINDOWED = RATES | OF_GAUGES
OF_PRESENCE = frozenset(
    {"absent", "absent_over_time", "present_over_time", "count_over_time", "changes", "resets", "timestamp"}
)
SCALARS = frozenset({"scalar", "time", "pi"})
WITHOUT_LABELS = SCALARS | {"vector"}
SCRAPES = 4


class Of(Protocol):
    def __call__(self, node: Any, *, raw: bool) -> Shape: ...


class Calls:
    def __init__(self, of: Of, say: Callable[[str, str], None], scrape_s: float, version: Version) -> None:
        self._of, self._say = of, say
        self._scrape_s, self._version = scrape_s, version

    def available(self, name: str) -> None:
        if said := fault(name, self._version):
            self._say("MAC305", said)

    def of(self, node: Any, *, raw: bool) -> Shape:
        name = node.func.name
        self.available(name)
        given = [self._of(one, raw=raw or name in RATES | OF_PRESENCE) for one in node.args]
        vectors = [one for one in given if one.kind in ("vector", "matrix")]
        inner = vectors[0] if vectors else Shape("scalar")
        if name in WINDOWED:
            self._window(name, node.args)
            return self._windowed(name, inner)
        if name in OF_PRESENCE or name in WITHOUT_LABELS:
            return self._bare(name, node, inner)
        if name.endswith("_over_time"):
            self._over_time(name, inner)
            return replace(inner, kind="vector", counter=False, gauge=False)
        return replace(self._labelled(name, node, inner), kind="vector")

    def _windowed(self, name: str, inner: Shape) -> Shape:
        if name in RATES and not inner.counter and "*" not in inner.labels:
            self._say("MAC307", f"{name}() is for counters; take delta(), deriv() or *_over_time() of a gauge")
        if name in OF_GAUGES and inner.counter:
            self._say("MAC306", f"{name}() is for gauges; take rate() or increase() of a counter")
        return replace(inner, kind="vector", counter=False, gauge=False, rate=name in RATES)

    def _over_time(self, name: str, inner: Shape) -> None:
        if inner.counter:
            self._say("MAC306", f"{name}() of a counter depends on when its process started; take increase()")

    def _window(self, name: str, given: Any) -> None:
        for one in given:
            if isinstance(one, promql.MatrixSelector) and one.range.total_seconds() < SCRAPES * self._scrape_s:
                least = f"{SCRAPES * self._scrape_s:g}s"
                self._say("MAC308", f"{name}() over {one.range.total_seconds():g}s: less than four scrapes ({least})")

    def _bare(self, name: str, node: Any, inner: Shape) -> Shape:
        if name.startswith("absent"):
            return Shape(labels=equalities(node.args[0]), condition=True, absent=True)
        if name in WITHOUT_LABELS:
            return Shape(
                "scalar" if name in SCALARS else "vector", gauge=inner.gauge, rate=inner.rate, ratio=inner.ratio
            )
        return Shape(labels=inner.labels, condition=inner.condition)

    def _labelled(self, name: str, node: Any, inner: Shape) -> Shape:
        """Functions that take labels away or add one."""
        if name == "histogram_quantile":
            if not inner.carries("le"):
                self._say("MAC304", "histogram_quantile() needs the label le: keep it in `by`")
            return replace(inner, labels=inner.labels - {"le"})
        if name in ("label_replace", "label_join"):
            return replace(inner, labels=inner.labels | {node.args[1].val})
        return inner


def equalities(node: Any) -> frozenset[str]:
    """Labels that `absent` gives: those a selector asks for exactly."""
    selector = getattr(node, "vector_selector", node)
    if not isinstance(selector, promql.VectorSelector):
        return frozenset()
    return frozenset(m.name for m in selector.matchers.matchers if m.op == promql.MatchOp.Equal) - {"__name__"}
