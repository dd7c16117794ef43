"""The corpus of bad revisions: each file of bad/ changes one thing of a good repository, and says what is to be found where."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from tests.operator.monitoring.trees import ALERT, RULES, RUNBOOK, TEST

BAD = Path(__file__).parent / "bad"
GOOD: Mapping[str, str] = {
    "forebay.yaml": "schema: 1\n",
    RULES: ALERT,
    RUNBOOK: "# ForebayDiskFull\nMake room.\n",
    "tests/rules/own.test.yaml": TEST,
}


@dataclass(frozen=True)
class Case:
    """`expect`: file:line and code."""

    name: str
    why: str
    expect: str
    files: Mapping[str, str]


def read_case(path: Path) -> Case:
    told = yaml.safe_load(path.read_text())
    files = dict(GOOD)
    for name, changes in (told.get("replace") or {}).items():
        for old, new in changes.items():
            assert old in files[name], f"{path.name}: {old!r} is not in {name}"
            files[name] = files[name].replace(old, new)
    files |= told.get("files") or {}
    for name in told.get("remove") or ():
        del files[name]
    return Case(path.stem, told["why"], told["expect"], files)


def cases() -> list[Case]:
    return [read_case(path) for path in sorted(BAD.glob("*.yaml"))]
