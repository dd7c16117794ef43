"""Paired rounds against a named rival: what every bench reports with.

    def ours() -> Sample: ...            # does one timed run and returns its rate
    def nginx() -> Sample: ...           # the same work, by the rival

    def main(arguments: list[str]) -> int:
        with servers():
            return run(
                "serve",
                [Measure("serve.100k", "requests/s", ours, nginx, goal=1.0, beside={"varnish": varnish})],
                rounds(arguments),
            )

A bench is bench/NAME.py with `main(arguments) -> exit status`. `run` takes each measure once a round, all its sides right
after one another and in reversed order every other round, so that what slows the machine slows both. The figure is the
median of the rounds' ratios with its 90% interval, from order statistics: no seed, no assumption about the noise.

PASS: the median reaches the goal. NOISY: only the interval does, and it is narrower than 15% of the median. SHORT:
otherwise, and the exit status is 1. A measure without a goal is for orientation. `Cpu` gives the CPU time beside a rate.
"""

import json
import math
import os
import pathlib
import platform
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

ROUNDS = 9
CONFIDENCE = 0.90
NOISY_WIDTH = 0.15
RESULTS = pathlib.Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Sample:
    """One side in one round. `value` is in the measure's unit; `shown` goes beside it, such as {"cpu us/request": 28.1}."""

    value: float
    shown: Mapping[str, float] = field(default_factory=dict)


Side = Callable[[], Sample]


@dataclass(frozen=True, slots=True)
class Measure:
    """`goal`: the least ratio ours/rival that passes (rival/ours where less is better). `beside`: more sides, by name, run in
    the same rounds for orientation."""

    name: str
    unit: str
    ours: Side
    rival: Side
    goal: float | None = None
    beside: Mapping[str, Side] = field(default_factory=dict)
    better: Literal["more", "less"] = "more"
    rival_name: str = "rival"

    @property
    def sides(self) -> Mapping[str, Side]:
        return {"forebay": self.ours, self.rival_name: self.rival, **self.beside}


@dataclass(frozen=True, slots=True)
class Verdict:
    """`low` and `high` bound the median with at least 90% confidence."""

    name: str
    ratio: float
    low: float
    high: float
    goal: float | None
    word: str

    def __str__(self) -> str:
        goal = "" if self.goal is None else f" goal >= {self.goal:.2f}"
        return f"{self.name} ratio {_cut(self.ratio)} [{_cut(self.low)}, {_cut(self.high)}]{goal} {self.word}"


Rounds = list[dict[str, Sample]]
"""By round, then by side."""


def run(name: str, measures: Sequence[Measure], rounds: int = ROUNDS, warmups: int = 1) -> int:
    """Runs, prints, writes bench/results/NAME.json. Returns the exit status. `warmups`: rounds that are not counted."""
    taken: dict[str, Rounds] = {measure.name: [] for measure in measures}
    facts = machine()
    print(f"{name}: {rounds} paired rounds; {describe(facts)}", flush=True)
    for number in range(-warmups, rounds):
        for measure in measures:
            samples = _round(measure, reverse=number % 2 == 1)
            label = f"round {number + 1}/{rounds}" if number >= 0 else "warm-up"
            print(f"  {label} {measure.name} {_figures(samples, measure.unit)}", file=sys.stderr, flush=True)
            if number >= 0:
                taken[measure.name].append(samples)
    verdicts = [judge(measure, taken[measure.name]) for measure in measures]
    for measure, verdict in zip(measures, verdicts, strict=True):
        print(verdict)
        print(f"    {_figures(_medians(taken[measure.name]), measure.unit)}", flush=True)
    _write({"bench": name, "machine": facts, "rounds": rounds}, measures, taken, verdicts)
    return int(any(verdict.word == "SHORT" for verdict in verdicts))


def rounds(arguments: Sequence[str]) -> int:
    """The number in `--rounds N`, at least 9, which is the default."""
    asked = int(arguments[arguments.index("--rounds") + 1]) if "--rounds" in arguments else ROUNDS
    if asked < ROUNDS:
        raise SystemExit(f"--rounds {asked}: fewer than {ROUNDS} rounds prove nothing")
    return asked


def judge(measure: Measure, samples: Rounds) -> Verdict:
    """Pure."""
    ratios = sorted(_ratio(measure, sides) for sides in samples)
    ratio = statistics.median(ratios)
    low, high = interval(ratios)
    return Verdict(measure.name, ratio, low, high, measure.goal, _word(measure.goal, ratio, low, high))


def interval(ordered: Sequence[float]) -> tuple[float, float]:
    """The narrowest pair of order statistics that holds the median with at least 90% confidence (all of them, where so few
    values cannot). Source: the median's distribution-free interval; the count below it is binomial(n, 1/2)."""
    count = len(ordered)
    rank, outside = 0, 0.0
    while rank < count // 2:
        outside += 2 * math.comb(count, rank) / 2**count
        if outside > 1 - CONFIDENCE:
            break
        rank += 1
    at = max(rank - 1, 0)
    return ordered[at], ordered[count - 1 - at]


class Cpu:
    """CPU seconds of processes and of the whole machine since it was made. Processes that end meanwhile count no more."""

    def __init__(self, pids: Sequence[int] = ()) -> None:
        self._pids = pids
        self._start = (self._processes(), _machine_cpu_s())

    def processes_s(self) -> float:
        return self._processes() - self._start[0]

    def machine_s(self) -> float:
        """Busy time of all cores, whoever used it."""
        return _machine_cpu_s() - self._start[1]

    def _processes(self) -> float:
        return sum(process_cpu_s(pid) for pid in self._pids)


def process_cpu_s(pid: int) -> float:
    """User and system time of a process with its threads, without its children; 0 once it is gone."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def machine() -> dict[str, Any]:
    """What the figures belong to."""
    facts = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    model = next(
        (line.partition(":")[2].strip() for line in facts if line.startswith("model name")), platform.machine()
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": model,
        "kernel": platform.release(),
        "memory_gib": round(memory / 2**30, 1),
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
    }


def describe(facts: Mapping[str, Any]) -> str:
    return (
        f"{facts['cores']} cores ({facts['cpu']}), {facts['memory_gib']} GiB, Linux {facts['kernel']}, "
        f"Python {facts['python']}, load {facts['load_before']:.2f} before"
    )


def _round(measure: Measure, *, reverse: bool) -> dict[str, Sample]:
    names = list(measure.sides)
    order = reversed(names) if reverse else names
    taken = {name: measure.sides[name]() for name in order}
    return {name: taken[name] for name in names}


def _ratio(measure: Measure, sides: Mapping[str, Sample]) -> float:
    ours, rival = sides["forebay"].value, sides[measure.rival_name].value
    if ours <= 0 or rival <= 0:
        raise ValueError(f"{measure.name}: a side measured nothing (forebay {ours}, {measure.rival_name} {rival})")
    return ours / rival if measure.better == "more" else rival / ours


def _word(goal: float | None, ratio: float, low: float, high: float) -> str:
    if goal is None:
        return "(orientation)"
    if ratio >= goal:
        return "PASS"
    return "NOISY" if high >= goal and (high - low) / ratio < NOISY_WIDTH else "SHORT"


def _medians(samples: Rounds) -> dict[str, Sample]:
    return {name: _median([sides[name] for sides in samples]) for name in samples[0]}


def _median(samples: Sequence[Sample]) -> Sample:
    shown = {label: statistics.median(sample.shown[label] for sample in samples) for label in samples[0].shown}
    return Sample(statistics.median(sample.value for sample in samples), shown)


def _figures(sides: Mapping[str, Sample], unit: str) -> str:
    return "; ".join(
        ", ".join([f"{name} {sample.value:,.4g} {unit}", *(f"{v:,.4g} {label}" for label, v in sample.shown.items())])
        for name, sample in sides.items()
    )


def _cut(value: float) -> str:
    """Rounded down: 0.996 must not look like a goal of 1.00 that was reached."""
    return f"{math.floor(round(value * 100, 6)) / 100:.2f}"


def _machine_cpu_s() -> float:
    user, nice, system, _idle, _wait, irq, softirq = map(int, pathlib.Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def _write(
    facts: Mapping[str, Any], measures: Sequence[Measure], taken: Mapping[str, Rounds], verdicts: Sequence[Verdict]
) -> None:
    document = {
        **facts,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "measures": [
            {
                **asdict(verdict),
                "unit": measure.unit,
                "samples": [{side: asdict(sample) for side, sample in sides.items()} for sides in taken[measure.name]],
            }
            for measure, verdict in zip(measures, verdicts, strict=True)
        ],
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{facts['bench']}.json").write_text(json.dumps(document, indent=1) + "\n")
