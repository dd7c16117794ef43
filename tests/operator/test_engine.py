"""The operator's process: works only while it is elected, and says how it is."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.rigs import objects
from tests.rigs.clock import fast

from forebay_operator.engine import Engine, Parts
from forebay_operator.kube.bound import BoundKube
from forebay_operator.kube.lease import Candidate, Clock
from forebay_operator.kube.memory import MemoryKube
from forebay_operator.model import CACHE_CLUSTER, LEASE, Key, KubeUnavailable

DEADLINE_S = 30.0
LOCK = Key(LEASE, "forebay", "operator")


@dataclass
class Job:
    """Work that says when it runs. `ends`: what it ends with by itself."""

    runs: list["Job"]
    woken: list[Key] = field(default_factory=list)
    dead: str = ""
    unready: str = ""
    ends: Exception | None = None

    async def run(self) -> None:
        if self.ends:
            raise self.ends
        self.runs.append(self)
        try:
            await asyncio.Event().wait()
        finally:
            self.runs.remove(self)

    def wake(self, key: Key) -> None:
        self.woken.append(key)

    def why_not_alive(self) -> str:
        return self.dead

    def why_not_ready(self) -> str:
        return self.unready


@dataclass
class Rig:
    """Two operators may stand for one lease; `runs` are the jobs of both."""

    kube: MemoryKube = field(default_factory=MemoryKube)
    clock: Clock = field(default_factory=fast)
    runs: list[Job] = field(default_factory=list)
    heard: list[Callable[[Key], None]] = field(default_factory=list)
    offset: float = 0.0

    def now(self) -> float:
        return self.clock.now() + self.offset

    def engine(self, name: str, *places: str | None, kube: Any = None, ends: Exception | None = None) -> Engine:
        candidate = Candidate(kube or self.kube, LOCK, name, self.clock)

        async def hear(wake: Callable[[Key], None]) -> None:
            self.heard.append(wake)
            await asyncio.Event().wait()

        def begin() -> dict[str | None, Job]:
            return {place: Job(self.runs, ends=ends) for place in places or (None,)}

        return Engine(candidate, Parts(begin, hear, self.now))

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not done():
                await asyncio.sleep(0.002)


@asynccontextmanager
async def running(engine: Engine) -> AsyncIterator[None]:
    task = asyncio.create_task(engine.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_it_works_while_it_is_elected_and_one_only() -> None:
    rig = Rig()
    one, two = rig.engine("one"), rig.engine("two")
    async with running(one):
        await rig.until(lambda: one.elected)
        async with running(two):
            await rig.clock.sleep(40.0)
            assert (one.elected, two.elected, len(rig.runs)) == (True, False, 1)


async def test_who_goes_leaves_the_lease_to_the_next_at_once() -> None:
    rig = Rig()
    one, two = rig.engine("one"), rig.engine("two")
    async with running(two):
        async with running(one):
            await rig.until(lambda: bool(rig.runs))
        await rig.until(lambda: one.elected or two.elected)
    assert rig.runs == []
    lease = await rig.kube.get(LOCK)
    assert lease["spec"]["holderIdentity"] == ""


async def test_a_lost_lease_ends_the_work_and_a_new_term_begins_anew() -> None:
    down = [False]

    def fault(verb: str, key: Key) -> None:
        if down[0]:
            raise KubeUnavailable("on order")

    rig = Rig(kube=MemoryKube(fault=fault))
    engine = rig.engine("one")
    async with running(engine):
        await rig.until(lambda: bool(rig.runs))
        (first,) = rig.runs
        down[0] = True
        await rig.until(lambda: not rig.runs)
        assert not engine.elected
        down[0] = False
        await rig.until(lambda: bool(rig.runs))
        assert rig.runs[0] is not first


async def test_who_slept_through_its_lease_writes_nothing_before_it_has_noticed() -> None:
    rig, slept = Rig(), [0.0]
    clock = Clock(lambda: rig.clock.now() + slept[0], rig.clock.wall, rig.clock.sleep)
    candidate = Candidate(rig.kube, LOCK, "one", clock)
    await candidate.acquire()
    bound = BoundKube(rig.kube, lambda: candidate.holds)
    await bound.apply(objects.config_map("n", a="1"), manager="us")
    slept[0] = 60.0  # nothing else of this process has run since
    with pytest.raises(KubeUnavailable, match="lease"):
        await bound.apply(objects.config_map("n", a="2"), manager="us")


async def test_work_that_fails_ends_the_process_and_frees_the_lease() -> None:
    rig = Rig()
    with pytest.raises(ExceptionGroup):
        await rig.engine("one", ends=RuntimeError("a bug")).run()
    lease = await rig.kube.get(LOCK)
    assert lease["spec"]["holderIdentity"] == ""


async def test_a_wake_goes_to_who_looks_after_the_namespace() -> None:
    rig = Rig()
    async with running(rig.engine("one", "a", "b")):
        await rig.until(lambda: len(rig.runs) == 2 and bool(rig.heard))
        key = Key(CACHE_CLUSTER, "b", "main")
        rig.heard[0](key)
        rig.heard[0](Key(CACHE_CLUSTER, "elsewhere", "main"))
        assert [job.woken for job in rig.runs] == [[], [key]]
    async with running(rig.engine("one")):
        await rig.until(lambda: len(rig.heard) == 2)
        rig.heard[1](key)
        assert [job.woken for job in rig.runs] == [[key]]


async def test_it_is_alive_while_it_and_its_work_get_on() -> None:
    rig = Rig()
    engine = rig.engine("one")
    async with running(engine):
        await rig.until(lambda: bool(rig.runs))
        assert engine.why_not_alive() == ""
        rig.runs[0].dead = "nothing was heard for 301 s"
        assert engine.why_not_alive() == "nothing was heard for 301 s"
        rig.runs[0].dead = ""
        rig.offset = 120.0  # as if its own loop had not run for so long
        assert "lease" in engine.why_not_alive()


async def test_it_is_ready_while_the_api_server_answers_elected_or_not() -> None:
    rig = Rig()
    one, two = rig.engine("one"), rig.engine("two")
    assert two.why_not_ready()
    async with running(one), running(two):
        await rig.until(lambda: not one.why_not_ready() and not two.why_not_ready())
        assert one.elected != two.elected
        rig.runs[0].unready = "not listed yet: pods"
        assert {one.why_not_ready(), two.why_not_ready()} == {"", "not listed yet: pods"}
        rig.runs[0].unready = ""
        await rig.kube.aclose()
        await rig.until(lambda: bool(one.why_not_ready() and two.why_not_ready()))
        assert one.why_not_alive() == ""
