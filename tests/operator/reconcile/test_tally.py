"""What a scrape of the operator shows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.rigs import objects
from tests.rigs.members import OneMember

from forebay_cache.telemetry import Telemetry
from forebay_operator.kube.memory import MemoryKube
from forebay_operator.model import CACHE_CLUSTER, DATASET, POD, SECRET, Key, Kind, KubeConflict, KubeUnavailable
from forebay_operator.reconcile.loop import SILENT_MOST_S, Clocks, Operator
from forebay_operator.reconcile.tally import Tally

MAIN = Key(CACHE_CLUSTER, "n", "main")


@dataclass
class Quiet:
    queued: int
    overdue_s: float
    silence: Mapping[Kind, float]

    @property
    def silent_s(self) -> float:
        return max(self.overdue_s, *self.silence.values())


@dataclass
class Desk:
    clock: list[float] = field(default_factory=lambda: [0.0])

    def __post_init__(self) -> None:
        self.telemetry = Telemetry()
        self.tally = Tally(self.telemetry, lambda: self.clock[0])

    def operator(self, kube: Any) -> Operator:
        return Operator(kube, OneMember(), Clocks(lambda: 0.0, lambda: self.clock[0], lambda: 0.0), self.tally)

    def shows(self, series: str) -> float | None:
        """The value of a series that starts so."""
        lines = [line for line in self.telemetry.exposition().decode().splitlines() if line.startswith(series + " ")]
        return float(lines[0].rpartition(" ")[2]) if lines else None


def test_looks_are_counted_and_timed_by_how_they_end() -> None:
    desk = Desk()
    with desk.tally.look(DATASET):
        desk.clock[0] = 2.0
    with pytest.raises(KubeUnavailable), desk.tally.look(DATASET):
        raise KubeUnavailable("away")
    assert desk.shows('forebay_operator_looks_total{kind="Dataset",result="done"}') == 1
    assert desk.shows('forebay_operator_looks_total{kind="Dataset",result="failed"}') == 1
    assert desk.shows('forebay_operator_look_seconds_sum{kind="Dataset"}') == 2
    assert desk.shows('forebay_operator_look_seconds_count{kind="Dataset"}') == 2


def test_several_operators_of_a_process_are_shown_as_one_and_go_when_they_end() -> None:
    desk = Desk()
    one, two = Quiet(2, 3.0, {POD: 5.0}), Quiet(1, 9.0, {POD: 4.0, SECRET: 1.0})
    with desk.tally.running(one), desk.tally.running(two):
        assert desk.shows("forebay_operator_queued_clusters") == 3
        assert desk.shows("forebay_operator_overdue_seconds") == 9
        assert desk.shows('forebay_operator_watch_silent_seconds{kind="Pod"}') == 5
        assert desk.shows("forebay_operator_silent_seconds") == 9
    assert desk.shows("forebay_operator_queued_clusters") == 0
    assert desk.shows("forebay_operator_silent_seconds") == 0
    assert desk.shows('forebay_operator_watch_silent_seconds{kind="Pod"}') is None


async def test_writes_are_counted_by_verb_kind_and_answer() -> None:
    desk = Desk()
    kube = desk.operator(MemoryKube())._kube
    made = await kube.apply(objects.config_map("n", a="1"), manager="us")
    with pytest.raises(KubeConflict):
        await kube.apply(objects.config_map("n", a="2"), manager="them")
    for verb, result, count in (("apply", "accepted", 1), ("apply", "failed", 1), ("create", "accepted", None)):
        series = f'forebay_operator_writes_total{{kind="ConfigMap",result="{result}",verb="{verb}"}}'
        assert desk.shows(series) == count
    assert made["data"] == {"a": "1"}


async def test_an_operator_is_ready_once_it_knows_the_world() -> None:
    operator = Desk().operator(MemoryKube())
    assert operator.why_not_ready().startswith("not listed yet: cacheclusters, datasets")
    for feed in operator._kube._feeds.values():
        await feed._list(MemoryKube())
    assert operator.why_not_ready() == ""


async def test_an_operator_is_alive_while_watches_speak_and_what_is_due_is_looked_at() -> None:
    desk = Desk()
    operator = desk.operator(MemoryKube())
    operator.wake(MAIN)
    assert (operator.queued, operator.why_not_alive()) == (1, "")
    desk.clock[0] = SILENT_MOST_S + 1
    for feed in operator._kube._feeds.values():
        feed.heard = desk.clock[0]
    assert operator.why_not_alive() == "nothing was heard or done for 301 s"
    assert await operator._queue.next() == MAIN
    assert (operator.queued, operator.why_not_alive()) == (0, "")
    desk.clock[0] *= 2
    assert operator.why_not_alive() == "nothing was heard or done for 301 s"
