"""Standards of dashboards (MAC701, MAC702). Pure."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from forebay_operator.model import Finding
from forebay_operator.monitoring.lint import promql
from forebay_operator.monitoring.lint.expressions import Expressions
from forebay_operator.monitoring.render.bundle import Bundle, Dashboard

UID = re.compile(r"[a-z0-9-]{1,40}")
WINDOW = re.compile(r"\$(\{)?(__rate_interval|__interval|__range)(\})?")
VARIABLE = re.compile(r"\$\{?\w+(:\w+)?\}?")
DEPTH_LIMIT = 40


def dashboard_findings(bundle: Bundle, expressions: Expressions) -> Iterator[Finding]:
    uids: dict[str, str] = {}
    for one in bundle.dashboards:
        yield from findings_of(one, expressions, uids)
        if len(one.text.encode()) > bundle.repository.standards.budgets.dashboard_bytes:
            yield Finding(one.file, 0, "MAC413", f"{len(one.text.encode()):,} bytes of dashboard")


def findings_of(one: Dashboard, expressions: Expressions, uids: dict[str, str]) -> Iterator[Finding]:
    try:
        model: Any = json.loads(one.text)
    except (ValueError, RecursionError) as exc:
        yield Finding(one.file, getattr(exc, "lineno", 0), "MAC701", f"is not JSON: {exc}")
        return
    uid = model.get("uid") if isinstance(model, Mapping) else None
    if not isinstance(uid, str) or not UID.fullmatch(uid) or not model.get("title"):
        yield Finding(one.file, 1, "MAC701", "has no `title`, or no `uid` of a-z, 0-9 and `-`, at most 40 long")
        return
    if uid in uids:
        yield Finding(one.file, line_of(one, f'"{uid}"'), "MAC701", f"the uid {uid} is {uids[uid]}'s as well")
    uids.setdefault(uid, one.file)
    for expr in dict.fromkeys(expressions_in(model, 0)):
        line = line_of(one, json.dumps(expr))
        for code, message in faults(expr, expressions):
            yield Finding(one.file, line, code, message)


def line_of(one: Dashboard, text: str) -> int:
    at = one.text.find(text)
    return one.text.count("\n", 0, at) + 1 if at >= 0 else 0


def expressions_in(model: Any, depth: int) -> Iterator[str]:
    """Every `expr` below."""
    if depth > DEPTH_LIMIT:
        return
    if isinstance(model, Mapping):
        for name, value in model.items():
            if name == "expr" and isinstance(value, str):
                yield value
            else:
                yield from expressions_in(value, depth + 1)
    elif isinstance(model, list):
        for one in model:
            yield from expressions_in(one, depth + 1)


def faults(expr: str, expressions: Expressions) -> Iterator[tuple[str, str]]:
    """Grafana's variables stand for a window or for text."""
    text = VARIABLE.sub("x", WINDOW.sub("1h", expr))
    if fault := promql.syntax_fault(text):
        yield "MAC301", fault
        return
    for code, message in expressions.of(text).faults:
        yield ("MAC702" if code in ("MAC303", "MAC304") else code), message
