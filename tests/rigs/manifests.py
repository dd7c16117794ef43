"""The corpus in tests/manifests: bad ones say in their head which field and rule they break."""

import pathlib
from dataclasses import dataclass
from typing import Any

import yaml

FOLDER = pathlib.Path(__file__).parents[1] / "manifests"


@dataclass(frozen=True, slots=True)
class Bad:
    """`old` is what the manifest changes, where a change is what is bad."""

    name: str
    field: str
    rule: str
    old: dict[str, Any] | None
    new: dict[str, Any]


def bad() -> list[Bad]:
    return [read(path) for path in sorted((FOLDER / "bad").glob("*.yaml"))]


def read(path: pathlib.Path) -> Bad:
    text = path.read_text()
    head = dict(line[2:].split(": ", 1) for line in text.splitlines() if line.startswith("# "))
    *old, new = yaml.safe_load_all(text)
    return Bad(path.stem, head["field"], head["rule"], old[0] if old else None, new)
