"""Jinja2 as a calculator: values in, text out, within limits. The home of jinja2.

The sandbox keeps templates from Python; what is here keeps them from time and memory: every turn of a loop or call of a
macro is a step, every text has a limit before it is made, and filters are an allow-list. Delimiters are `[[ ]]`, `[% %]`,
`[# #]`, so that the `{{ }}` of Prometheus pass through. Each text is rendered with marks that say from which line each of
its lines came, and, where a template could see them, plainly as well.
"""

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import BaseLoader, Environment, StrictUndefined, TemplateError, TemplateNotFound, Undefined, nodes
from jinja2.exceptions import SecurityError, TemplateSyntaxError, UndefinedError
from jinja2.runtime import Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from forebay_operator.model import Finding, MonitoringRefused
from forebay_operator.monitoring.render.document import Place

MARK = re.compile("\0([^\0]*):([0-9]+)\0")
CAPTURES = re.compile(r"\b(endmacro|endcall|endfilter|endset|self|super|caller)\b")
"""What can look at text that was rendered, marks and all. Only a template with one of these is rendered twice."""
FILTERS = (
    *(
        "abs",
        "capitalize",
        "default",
        "d",
        "dictsort",
        "first",
        "float",
        "int",
        "items",
        "join",
        "last",
        "length",
        "count",
    ),
    *(
        "list",
        "lower",
        "map",
        "max",
        "min",
        "reject",
        "rejectattr",
        "replace",
        "reverse",
        "round",
        "select",
        "selectattr",
    ),
    *("sort", "string", "title", "tojson", "trim", "unique", "upper", "indent"),
)
GLOBALS = ("range", "namespace")
TEXT_METHODS = frozenset({"startswith", "endswith", "lower", "upper", "strip", "split", "removeprefix", "removesuffix"})
MAP_METHODS = frozenset({"items", "keys", "values", "get"})
PLAIN = (str, int, float, bool, type(None))
BITS = 64
CHECK_EVERY = 16


@dataclass(frozen=True, slots=True)
class RenderLimits:
    """`text` bounds each value, `output` what one template writes, macros included; `time_s` is a last resort.

    A list counts with everything in it, however often: a small list of small lists can be a very long text.
    """

    template_bytes: int = 256 << 10
    steps: int = 1_000_000
    text: int = 1 << 20
    items: int = 100_000
    output: int = 16 << 20
    time_s: float = 20


class LimitReached(Exception):
    """Raised inside a template; becomes a finding with its line."""


ERRORS: tuple[tuple[type[Exception], str], ...] = (
    # foreign error -> code; the first that fits
    (LimitReached, "MAC204"),
    (RecursionError, "MAC204"),
    (MemoryError, "MAC204"),
    (OverflowError, "MAC204"),
    (UndefinedError, "MAC202"),
    (SecurityError, "MAC203"),
    (TemplateError, "MAC201"),
    (TypeError, "MAC201"),
    (ValueError, "MAC201"),
    (ArithmeticError, "MAC201"),
    (LookupError, "MAC201"),
    (AttributeError, "MAC203"),
    (AssertionError, "MAC201"),
)


class Meter:
    """Counts what one render costs."""

    def __init__(self, limits: RenderLimits, now: Callable[[], float]) -> None:
        self.limits, self._now = limits, now
        self._steps = self._output = 0
        self._end = now() + limits.time_s

    def step(self, length: int = 0) -> str:
        """One turn of a loop, of whose text `length` characters are fixed."""
        self._steps += 1
        self._output += length
        if self._steps > self.limits.steps:
            raise LimitReached(f"more than {self.limits.steps:,} steps")
        if self._output > self.limits.output:
            raise LimitReached(f"more than {self.limits.output:,} characters of output")
        if self._steps % CHECK_EVERY == 0 and self._now() > self._end:
            raise LimitReached(f"not done within {self.limits.time_s:g} s")
        return ""

    def shown(self, value: Any) -> Any:
        """A value on its way into the text."""
        if isinstance(value, Undefined):
            return value
        if not isinstance(value, PLAIN):
            raise SecurityError(f"a {type(value).__name__} is no text; use `join` or `tojson`")
        self.step(len(value) if isinstance(value, str) else 32)
        return self.sized(value)

    def sized(self, value: Any) -> Any:
        if isinstance(value, str):
            if len(value) > self.limits.text:
                raise LimitReached(f"a text of more than {self.limits.text:,} characters")
        elif isinstance(value, list | tuple | Mapping):
            self._weigh(value)
        elif isinstance(value, int) and value.bit_length() > BITS:
            raise LimitReached(f"a number of more than {BITS} bits")
        return value

    def _weigh(self, value: Any) -> None:
        """Every item counts as a step, and as often as it is there."""
        waiting, seen = [value], 0
        while waiting:
            inside = waiting.pop()
            seen += len(inside)
            if seen > self.limits.items:
                raise LimitReached(f"more than {self.limits.items:,} items")
            for one in inside.values() if isinstance(inside, Mapping) else inside:
                if isinstance(one, list | tuple | Mapping):
                    waiting.append(one)
                elif not isinstance(one, (*PLAIN, Undefined)):
                    raise SecurityError(f"a {type(one).__name__} cannot be put into a list")
        self._steps += seen


class Metered(NodeTransformer):
    """Counts a step wherever a template can repeat itself, and makes filters, whose results have limits, of `~`, lists
    and mappings."""

    def __init__(self, file: str, *, marks: bool) -> None:
        self._file, self._marks = file, marks

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - jinja2's name
        return self._stepping(node)

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:  # noqa: N802
        return self._stepping(node)

    def visit_CallBlock(self, node: nodes.CallBlock) -> nodes.Node:  # noqa: N802
        return self._stepping(node)

    def visit_Block(self, node: nodes.Block) -> nodes.Node:  # noqa: N802
        return self._stepping(node)

    def visit_Template(self, node: nodes.Template) -> nodes.Node:  # noqa: N802 - each include is a turn as well
        return self._stepping(node)

    def visit_List(self, node: nodes.List) -> nodes.Node:  # noqa: N802
        return self._weighed(node)

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:  # noqa: N802
        return self._weighed(node)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802
        return self._weighed(node) if node.ctx == "load" else node

    def _weighed(self, node: nodes.Expr) -> nodes.Node:
        self.generic_visit(node)
        return nodes.Filter(node, "__weighed", [], [], None, None).set_lineno(node.lineno)

    def _stepping(self, node: Any) -> nodes.Node:
        length = sum(len(data.data) for data in node.find_all(nodes.TemplateData))
        call = nodes.Call(nodes.Name("__step", "load"), [nodes.Const(length)], [], None, None)
        self.generic_visit(node)
        node.body.insert(0, nodes.Output([call], lineno=node.lineno).set_lineno(node.lineno))
        assert isinstance(node, nodes.Node)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        joined = nodes.Filter(nodes.List(node.nodes), "join", [], [], None, None)
        return joined.set_lineno(node.lineno)

    def visit_TemplateData(self, node: nodes.TemplateData) -> nodes.Node:  # noqa: N802
        if self._marks:
            lines = node.data.split("\n")
            node.data = "\n".join(f"\0{self._file}:{node.lineno + n}\0{line}" for n, line in enumerate(lines))
        return node


class Calculator(ImmutableSandboxedEnvironment):
    """An environment for one render."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, sources: Mapping[str, tuple[str, str]], meter: Meter, *, marks: bool) -> None:
        super().__init__(
            block_start_string="[%",
            block_end_string="%]",
            variable_start_string="[[",
            variable_end_string="]]",
            comment_start_string="[#",
            comment_end_string="#]",
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            undefined=StrictUndefined,
            finalize=meter.shown,
            loader=Sources(sources),
        )
        self._meter, self._marks = meter, marks
        self.filters = {name: limited(meter, self.filters[name]) for name in FILTERS}
        self.filters["replace"] = replace(meter)
        self.filters["join"] = join(meter)
        self.filters["indent"] = limited(meter, indent)
        self.filters["__weighed"] = meter.sized
        self.globals = {name: self.globals[name] for name in GLOBALS} | {"__step": meter.step}

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        visited = Metered(filename or "", marks=self._marks).visit(tree)
        assert isinstance(visited, nodes.Template)
        return visited

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, str):
            return attr in TEXT_METHODS
        if isinstance(obj, Mapping):
            return attr in MAP_METHODS
        return not isinstance(obj, list | tuple | int | float | Macro) and super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        """Widths make `format` a way to any length."""
        if super().wrap_str_format(value) is not None:
            raise SecurityError("`format` is not available; texts are joined by `~`")

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Only `+` of two texts or two lists; everything else is for numbers."""
        texts = isinstance(left, str) and isinstance(right, str)
        if operator == "+" and (texts or isinstance(left, list | tuple)):
            self._meter.step()
        elif not (isinstance(left, int | float) and isinstance(right, int | float)):
            raise SecurityError(f"`{operator}` is for numbers; texts are joined by `~`, lists by `+`")
        elif operator == "**":
            raise SecurityError("`**` is not available; write the number")
        return self._meter.sized(super().call_binop(context, operator, left, right))


class Sources(BaseLoader):
    """Name -> (file as shown, text)."""

    def __init__(self, sources: Mapping[str, tuple[str, str]]) -> None:
        self._sources = sources

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        if template not in self._sources:
            raise TemplateNotFound(template)
        file, text = self._sources[template]
        return text, file, lambda: True


def limited(meter: Meter, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **named: Any) -> Any:
        meter.step()
        return meter.sized(function(*args, **named))

    return call


def replace(meter: Meter) -> Callable[..., str]:
    def call(text: Any, old: str, new: str) -> str:
        shown = str(text)
        if shown.count(old) * len(new) > meter.limits.text:
            raise LimitReached(f"a text of more than {meter.limits.text:,} characters")
        return shown.replace(old, new)

    return call


def join(meter: Meter) -> Callable[..., str]:
    def call(values: Iterable[Any], separator: str = "", attribute: str | None = None) -> str:
        parts, length = [], 0
        for value in values:
            meter.step()
            parts.append(str(value if attribute is None else value[attribute]))
            length += len(parts[-1]) + len(separator)
            if length > meter.limits.text:
                raise LimitReached(f"a text of more than {meter.limits.text:,} characters")
        return separator.join(parts)

    return call


def indent(text: str, width: int = 4) -> str:
    """All lines but the first, by at most 64 blanks."""
    return str(text).replace("\n", "\n" + " " * min(int(width), 64))


@dataclass(frozen=True, slots=True)
class Rendered:
    """`places`: of each line of `text`, where it came from."""

    text: str
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Templates:
    """`sources`: name below templates/ -> (file as shown, text)."""

    sources: Mapping[str, tuple[str, str]]
    limits: RenderLimits
    now: Callable[[], float]

    def render(self, name: str, values: Mapping[str, Any]) -> Rendered:
        """Raises MonitoringRefused with file and line."""
        file, source = self.sources[name]
        if len(source) > self.limits.template_bytes:
            raise MonitoringRefused(Finding(file, 0, "MAC204", f"longer than {self.limits.template_bytes:,} bytes"))
        plain, places = unmarked(self._text(name, values, marks=True), file)
        if not any(CAPTURES.search(text) for _, text in self.sources.values()):
            return Rendered(plain, places)
        text = self._text(name, values, marks=False)
        return Rendered(text, places if plain == text else ((file, 0),) * (text.count("\n") + 1))

    def _text(self, name: str, values: Mapping[str, Any], *, marks: bool) -> str:
        meter = Meter(self.limits, self.now)
        try:
            template = Calculator(self.sources, meter, marks=marks).get_template(name)
            return "".join(template.generate(values))
        except tuple(kind for kind, _ in ERRORS) as exc:
            raise MonitoringRefused(finding(exc, self.sources, self.sources[name][0])) from exc


def unmarked(text: str, file: str) -> tuple[str, tuple[Place, ...]]:
    """The text without marks, and the place of each line: the last mark before its first character."""
    places: list[Place] = []
    last: Place = (file, 1)
    for line in text.split("\n"):
        here = last
        for mark in MARK.finditer(line):
            last = (mark[1], int(mark[2]))
            if not MARK.sub("", line[: mark.start()]).strip():
                here = last
        places.append(here)
    return MARK.sub("", text), tuple(places)


def finding(exc: Exception, sources: Mapping[str, tuple[str, str]], file: str) -> Finding:
    code = next(code for kind, code in ERRORS if isinstance(exc, kind))
    said = " ".join(str(exc).split()) or type(exc).__name__
    if isinstance(exc, RecursionError):  # the interpreter's own words depend on where its stack ended
        said = "macros or includes call themselves without end"
    if isinstance(exc, TemplateNotFound):
        said = f"there is no template {exc.name!r}"
    if isinstance(exc, TemplateSyntaxError):
        return Finding(exc.filename or file, exc.lineno, code, exc.message or said)
    return Finding(*deepest(exc, {shown for shown, _ in sources.values()}, file), code, said[:300])


def deepest(exc: Exception, files: set[str], file: str) -> Place:
    """The last line of a template on the way to an error: jinja2 rewrites tracebacks so that they name them."""
    place, trace = (file, 0), exc.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename in files:
            place = (trace.tb_frame.f_code.co_filename, trace.tb_lineno)
        trace = trace.tb_next
    return place
