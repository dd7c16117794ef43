"""Whatever a repository holds, judging it ends in a verdict: never in an error of ours."""

import random
import time

import pytest
from tests.monitoring.corpus import GOOD, cases

from forebay_operator.monitoring.engine import Setting, judge
from forebay_operator.monitoring.render.resources import EXAMPLE
from forebay_operator.monitoring.render.template import RenderLimits
from forebay_operator.monitoring.shipped import shipped

LITTER = (
    "[[ ",
    " ]]",
    "[% for a in clusters %]",
    "[% endfor %]",
    "{",
    "}",
    "[",
    "]",
    ": ",
    "- ",
    "\n",
    "  ",
    "~",
    "5",
    '"',
    "'",
    "|",
)
LITTER += (
    "*a",
    "&a",
    "!!x ",
    "1e400",
    ".nan",
    "rate(",
    "[5m]",
    " by (x)",
    "groups:",
    "route:",
    "\t",
    "\u2028",
    "---\n",
    "<<: ",
    "\\",
)
ROUNDS = 20


def damaged(text: str, rng: random.Random) -> str:
    for _ in range(rng.randint(1, 4)):
        at = rng.randint(0, len(text))
        lines = text.split("\n")
        line = rng.randrange(len(lines))
        match rng.randrange(4):
            case 0:
                text = text[:at] + rng.choice(LITTER) + text[at:]
            case 1:
                text = text[:at] + text[at + rng.randint(1, 8) :]
            case 2:
                lines[line] = lines[line].split(":")[0] + ": " + rng.choice(LITTER)
                text = "\n".join(lines)
            case _:
                lines.insert(line, rng.choice(lines))
                text = "\n".join(lines)
    return text


@pytest.mark.parametrize("seed", range(5))
def test_damage_ends_in_a_verdict(seed: int) -> None:
    print(f"seed {seed}")
    rng = random.Random(seed)
    pack = {name: data.decode() for name, data in shipped().items()}
    begins = [
        dict(GOOD),
        {**pack, "forebay.yaml": "schema: 1\n"},
        *(dict(case.files) for case in cases() if case.files),
    ]
    setting = Setting("0.1.0", shipped(), time.monotonic, limits=RenderLimits(steps=20_000))
    for _ in range(ROUNDS):
        files = dict(rng.choice(begins))
        for name in rng.choices(list(files), k=3):
            files[name] = damaged(files[name], rng)
        verdict = judge({name: text.encode() for name, text in files.items()}, EXAMPLE, setting)
        assert verdict.accepted or verdict.findings
