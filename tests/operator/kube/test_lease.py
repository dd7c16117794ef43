"""Election by a Lease, on the dictionary and on a real API server, with a clock that runs fast."""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.rigs.clock import fast

from forebay_operator.kube import http
from forebay_operator.kube.base import Kube
from forebay_operator.kube.lease import Candidate, Clock, Timing
from forebay_operator.kube.memory import MemoryKube
from forebay_operator.model import LEASE, Key, KubeUnavailable, Object

DEADLINE_S = 30.0


@dataclass
class Line:
    """One candidate's way to the API server. `down`: nothing arrives; `deaf`: writes arrive, answers do not; `slow`: as
    long as the event is there, calls wait for it."""

    kube: Kube
    down: bool = False
    deaf: bool = False
    slow: asyncio.Event | None = None
    calls: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        call = getattr(self.kube, name)

        async def through(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(name)
            if self.slow:
                await self.slow.wait()
            if self.down:
                raise KubeUnavailable("the line is down")
            answer = await call(*args, **kwargs)
            if self.deaf and name != "get":
                raise KubeUnavailable("the answer was lost")
            return answer

        return through


@dataclass
class World:
    kube: Kube
    key: Key
    clock: Clock

    def candidate(self, name: str) -> tuple[Candidate, Line]:
        line = Line(self.kube)
        return Candidate(line, self.key, name, self.clock, Timing()), line  # type: ignore[arg-type]

    async def spec(self) -> Object:
        found: Object = (await self.kube.get(self.key))["spec"]
        return found


@pytest.fixture(params=["dictionary", pytest.param("server", marks=pytest.mark.kube)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    kube: Any
    namespace = "default"
    if request.param == "server":
        plane = request.getfixturevalue("control_plane")
        namespace, kube = plane.namespace(), await http.connect_file(str(plane.kubeconfig))
    else:
        kube = MemoryKube()
    # a real server's answers take some milliseconds, on a busy machine many: they must stay a small part of a lease
    yield World(kube, Key(LEASE, namespace, "operator"), fast(20.0) if request.param == "server" else fast())
    await kube.aclose()


@asynccontextmanager
async def standing(candidate: Candidate) -> AsyncIterator[None]:
    """It takes and keeps the lease whenever it can."""

    async def run() -> None:
        while True:
            await candidate.acquire()
            await candidate.keep()

    task = asyncio.create_task(run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def until(clock: Clock, done: Any) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not done():
            await clock.sleep(0.2)


async def test_the_first_takes_it_and_says_so(world: World) -> None:
    one, _ = world.candidate("one")
    await one.acquire()
    assert one.holds
    spec = await world.spec()
    assert (spec["holderIdentity"], spec["leaseDurationSeconds"], spec["leaseTransitions"]) == ("one", 15, 0)


async def test_another_waits_while_it_is_renewed(world: World) -> None:
    (one, _), (two, line) = world.candidate("one"), world.candidate("two")
    await one.acquire()
    async with standing(one), standing(two):
        await until(world.clock, lambda: line.calls.count("get") > 12)
        assert one.holds
        assert not two.holds
        assert two.holder == "one"
    assert "apply" not in line.calls


async def test_what_is_released_is_taken_at_once(world: World) -> None:
    (one, _), (two, _) = world.candidate("one"), world.candidate("two")
    await one.acquire()
    await one.release()
    assert not one.holds
    began = world.clock.now()
    await two.acquire()
    assert two.holds
    assert world.clock.now() - began < Timing().duration_s
    assert (await world.spec())["leaseTransitions"] == 1


async def test_who_cannot_renew_gives_up_before_another_takes_over(world: World) -> None:
    (one, line), (two, _) = world.candidate("one"), world.candidate("two")
    await one.acquire()
    async with standing(two):
        keeping = asyncio.create_task(one.keep())
        await until(world.clock, lambda: two.holder == "one")
        line.down = True
        async with asyncio.timeout(DEADLINE_S):
            await keeping
        assert not one.holds
        assert not two.holds
        await until(world.clock, lambda: two.holds)


async def test_who_hangs_gives_up_on_time(world: World) -> None:
    one, line = world.candidate("one")
    await one.acquire()
    line.slow = asyncio.Event()
    async with asyncio.timeout(DEADLINE_S / 6):  # less than the call's own deadline by the wall
        await one.keep()
    assert not one.holds


async def test_a_lost_answer_loses_nothing(world: World) -> None:
    one, line = world.candidate("one")
    async with standing(one):
        await until(world.clock, lambda: one.holds)
        line.deaf = True
        await until(world.clock, lambda: line.calls.count("apply") >= 2)
        line.deaf = False
        await until(world.clock, lambda: line.calls.count("get") >= 2)  # its version was not the newest: looked again
        await until(world.clock, lambda: one.holds)
    assert (await world.spec())["leaseTransitions"] == 0


async def test_a_lease_that_was_deleted_under_its_holder_is_not_up_for_grabs(world: World) -> None:
    (one, held), (two, line) = world.candidate("one"), world.candidate("two")
    await one.acquire()
    async with standing(two):
        await until(world.clock, lambda: two.holder == "one")
        held.down = True
        await world.kube.delete(world.key)
        seen = len(line.calls)
        await until(world.clock, lambda: len(line.calls) > seen + 2)
        assert not two.holds
        await until(world.clock, lambda: two.holds)
    assert not one.holds


async def test_a_candidate_starts_without_a_clock_in_common(world: World) -> None:
    one, _ = world.candidate("one")
    await one.acquire()
    other = Clock(lambda: world.clock.now() - 1e6, lambda: 0.0, world.clock.sleep)
    two = Candidate(world.kube, world.key, "two", other)
    async with standing(two):
        keeping = asyncio.create_task(one.keep())
        await until(world.clock, lambda: two.holder == "one")
        assert one.holds
        keeping.cancel()
        await asyncio.wait({keeping})
        await until(world.clock, lambda: two.holds)
    assert not one.holds


async def test_three_on_bad_lines_never_hold_it_together(world: World) -> None:
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    candidates = [world.candidate(name) for name in ("one", "two", "three")]
    terms: list[str] = []
    least, most = world.clock.now() + 250.0, world.clock.now() + 5000.0
    async with standing(candidates[0][0]), standing(candidates[1][0]), standing(candidates[2][0]):
        while world.clock.now() < least or (len(set(terms)) < 2 and world.clock.now() < most):
            for _, line in candidates:
                line.down, line.deaf = chance.random() < 0.3, chance.random() < 0.2
            pause = world.clock.now() + chance.random() * 20.0
            while world.clock.now() < pause:
                holders = [one.identity for one, _ in candidates if one.holds]
                assert len(holders) <= 1, holders
                if holders and terms[-1:] != holders:
                    terms += holders
                await asyncio.sleep(0)
    assert len(set(terms)) > 1, terms
