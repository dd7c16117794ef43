import itertools
import time

import pytest

from forebay_operator.model import MonitoringRefused
from forebay_operator.monitoring.render.template import RenderLimits, Templates

SMALL = RenderLimits(template_bytes=2000, steps=5000, text=1000, items=500, output=20_000, time_s=5)


def render(source: str, limits: RenderLimits = SMALL, more: dict[str, str] | None = None, **values: object) -> str:
    sources = {"t": ("t.j2", source), **{name: (f"{name}.j2", body) for name, body in (more or {}).items()}}
    return Templates(sources, limits, time.monotonic).render("t", values).text


def refused(text: str, limits: RenderLimits = SMALL, more: dict[str, str] | None = None) -> str:
    with pytest.raises(MonitoringRefused) as caught:
        render(text, limits, more, clusters=[{"name": "a"}, {"name": "b"}], text="x" * 600)
    (finding,) = caught.value.findings
    assert finding.file.endswith(".j2")
    return f"{finding.code}:{finding.line}"


def test_the_braces_of_prometheus_pass_through() -> None:
    assert render("{{ $labels.x }} [[ 1 + 1 ]]") == "{{ $labels.x }} 2"


def test_each_line_knows_where_it_came_from() -> None:
    more = {"parts": "[% macro two() %]\none\ntwo\n[% endmacro %]"}
    text = '[% from "parts" import two %]\n[% for n in [1, 2] %]\nitem [[ n ]]\n[% endfor %]\n[[ two() ]]\nend'
    sources = {"t": ("t.j2", text), "parts": ("parts.j2", more["parts"])}
    rendered = Templates(sources, SMALL, time.monotonic).render("t", {})
    lines = [line for line in zip(rendered.text.split("\n"), rendered.places, strict=True) if line[0].strip()]
    assert lines == [
        ("item 1", ("t.j2", 3)),
        ("item 2", ("t.j2", 3)),
        ("one", ("parts.j2", 2)),
        ("two", ("parts.j2", 3)),
        ("end", ("t.j2", 6)),
    ]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a\n[[ clustr.name ]]", "MAC202:2"),
        ("[% for c in clusters %][[ c.nam ]][% endfor %]", "MAC202:1"),
        ("a\n[% for c in clusters", "MAC201:2"),
        ("[[ 1 / 0 ]]", "MAC201:1"),
        ('[% include "nowhere" %]', "MAC201:1"),
        ("[[ ''.__class__ ]]", "MAC203:1"),
        ("[[ ''.__class__.__mro__ ]]", "MAC203:1"),
        ("[[ ''.format.__globals__ ]]", "MAC203:1"),
        ("[[ clusters.append(1) ]]", "MAC203:1"),
        ("[[ text.format(1) ]]", "MAC203:1"),
        ("[[ clusters ]]", "MAC203:1"),
        ("[[ text * 10 ]]", "MAC203:1"),
        ("[[ 2 ** 1000 ]]", "MAC203:1"),
        ("[[ cycler(1) ]]", "MAC202:1"),
    ],
)
def test_what_is_refused_names_its_line(text: str, code: str) -> None:
    assert refused(text) == code


@pytest.mark.parametrize(
    "text",
    [
        "[% for a in range(1000) %][% for b in range(1000) %]x[% endfor %][% endfor %]",
        "[% for a in range(10**9) %]x[% endfor %]",
        "[[ range(400)|list|join('some text that is long') ]]",
        "[% set ns = namespace(t='x' ~ text) %][% for n in range(60) %][% set ns.t = ns.t ~ ns.t %][% endfor %]",
        "[% set ns = namespace(t=text) %][% for n in range(60) %][% set ns.t = ns.t + ns.t %][% endfor %]",
        "[% set ns = namespace(a=[1]) %][% for n in range(60) %][% set ns.a = [ns.a, ns.a] %][% endfor %]",
        "[% set ns = namespace(a=[1]) %][% for n in range(60) %][% set ns.a = ns.a + ns.a %][% endfor %]",
        "[% set ns = namespace(a={}) %][% for n in range(60) %][% set ns.a = {'a': ns.a, 'b': ns.a} %][% endfor %]",
        "[% macro m() %][[ m() ]][[ m() ]][% endmacro %][[ m() ]]",
        "[% macro m(n) %][% if n %][% set a = m(n - 1) %][% set b = m(n - 1) %][% endif %][% endmacro %][[ m(50) ]]",
        "[% block b %][[ self.b() ]][% endblock %]",
        '[% include "t" %]',
        "[[ text|replace('x', 'xxxxxxxxxx') ]]",
        "[% set ns = namespace(n=2) %][% for i in range(60) %][% set ns.n = ns.n * ns.n %][% endfor %]",
        "[% for n in range(400) %][[ text ]][% endfor %]",
        "x" * 3000,
    ],
)
def test_nothing_grows_without_limit(text: str) -> None:
    assert refused(text).startswith(("MAC204", "MAC203"))


def test_time_is_a_limit_of_its_own() -> None:
    clock = itertools.count()
    sources = {"t": ("t.j2", "[% for n in range(400) %]x[% endfor %]")}
    with pytest.raises(MonitoringRefused, match="MAC204 not done within 5 s"):
        Templates(sources, SMALL, lambda: float(next(clock))).render("t", {})


def test_rendering_is_the_same_each_time() -> None:
    text = "[% for k, v in m|dictsort %][[ k ]]=[[ v ]] [% endfor %]"
    assert render(text, m={"b": 1, "a": 2}) == render(text, m={"a": 2, "b": 1}) == "a=2 b=1 "
