"""How commands write: aligned tables, JSON, sizes and ages for people. Pure but for `write`."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import IO, Any

from forebay_operator.model import Object

UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def write_json(out: IO[str], value: Any) -> None:
    out.write(json.dumps(value, indent=2) + "\n")


def write_rows(out: IO[str], rows: Sequence[Mapping[str, str]], *, empty: str) -> None:
    """A table whose columns are the keys of the first row; `empty` in its stead where there is none."""
    out.write(f"{table(rows) if rows else empty}\n")


def table(rows: Sequence[Mapping[str, str]]) -> str:
    columns = list(rows[0])
    lines = [[name.upper().replace("_", " ") for name in columns], *([row[name] for name in columns] for row in rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(columns))]
    return "\n".join("  ".join(f"{cell:<{w}}" for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def size(count: int) -> str:
    """Bytes for people: three digits at most, binary units."""
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(UNITS) - 1:
        value, unit = value / 1024, unit + 1
    digits = 0 if unit == 0 or value >= 99.95 else 1
    return f"{value:.{digits}f} {UNITS[unit]}"


def age(then: str, now: float) -> str:
    """Time since an RFC 3339 stamp: its largest unit."""
    seconds = max(0, int(now - datetime.fromisoformat(then).timestamp()))
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def stamp(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def short(commit: str | None) -> str:
    """A commit's id as people write it: 12 characters say which."""
    return commit[:12] if commit else "-"


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def bare(obj: Object) -> Mapping[str, Any]:
    """An object as people want to see it: without who set which field."""
    kept = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    return {**obj, "metadata": kept}
