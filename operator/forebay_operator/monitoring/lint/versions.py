"""What Prometheus learned when. promql_parser reads the newest grammar; an older Prometheus refuses the whole file. Pure."""

import re
from collections.abc import Iterator, Mapping

Version = tuple[int, int]
NEVER: Version = (99, 0)
SINCE: Mapping[str, Version] = {
    # function, aggregation or word -> first version that has it without a feature flag; NEVER: only behind one
    "keep_firing_for": (2, 42),
    "histogram_avg": (2, 51),
    "histogram_stddev": (2, 48),
    "histogram_stdvar": (2, 48),
    "double_exponential_smoothing": NEVER,
    "info": NEVER,
    "limitk": NEVER,
    "limit_ratio": NEVER,
    "mad_over_time": NEVER,
    "sort_by_label": NEVER,
    "sort_by_label_desc": NEVER,
    "ts_of_first_over_time": NEVER,
    "ts_of_last_over_time": NEVER,
    "ts_of_max_over_time": NEVER,
    "ts_of_min_over_time": NEVER,
    "first_over_time": NEVER,
    "fill": NEVER,
}
UNTIL: Mapping[str, Version] = {"holt_winters": (3, 0)}
"""First version that lacks it."""
STRING = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|`[^`]*`')
BRACKETS = re.compile(r"\[[^\]]*\]")
OFFSET = re.compile(r"\b(offset|@)\s*-?\s*[0-9a-z.]+")
DURATION = re.compile(r"(?<![\w.:])[0-9]+(?:ms|[smhdwy])(?:[0-9]+(?:ms|[smhdwy]))*\b")
NUMBER_AS_RANGE = re.compile(r"\[\s*[0-9.]+\s*[\]:]|:\s*[0-9.]+\s*\]")
QUOTED_NAME = re.compile(r'\{\s*"|,\s*"[^"]*"\s*[,}]')


def version_of(text: str) -> Version:
    major, _, minor = text.partition(".")
    return int(major), int(minor)


def fault(name: str, version: Version) -> str:
    """Why `version` does not know `name`; empty where it does."""
    shown = f"Prometheus {version[0]}.{version[1]}"
    since = SINCE.get(name, (0, 0))
    if since == NEVER:
        return f"`{name}` is experimental: {shown} has it only behind a feature flag, if at all"
    if version < since:
        return f"`{name}` came with {since[0]}.{since[1]}, and the target is {shown}"
    if name in UNTIL and version >= UNTIL[name]:
        return f"`{name}` left with {UNTIL[name][0]}.{UNTIL[name][1]}, and the target is {shown}"
    return ""


def texts_beyond(text: str, version: Version) -> Iterator[str]:
    """What a syntax tree does not show any more."""
    shown = f"Prometheus {version[0]}.{version[1]}"
    if version < (3, 0) and QUOTED_NAME.search(text):
        yield f"a quoted metric name is not understood by {shown}"
    bare = STRING.sub('""', text)
    if version < (2, 54) and NUMBER_AS_RANGE.search(bare):
        yield f"a range without its unit is not understood by {shown}"
    found = DURATION.search(OFFSET.sub("", BRACKETS.sub("", bare)))
    if version < (2, 54) and found:
        yield f"`{found[0]}` as a number is not understood by {shown}; write seconds"
