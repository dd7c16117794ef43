"""How an origin that asks for fewer requests gets fewer."""

import random

import pytest

from forebay_cache.origin.pace import Pace, PacePolicy

POLICY = PacePolicy(most=1000, least=2, cut=0.5, gain=10, burst=0.1)


class Clock:
    def __init__(self) -> None:
        self.at = 50.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pace(clock: Clock) -> Pace:
    return Pace(POLICY, clock)


def send(pace: Pace, clock: Clock, per_s: int, seconds: float) -> int:
    """Asks as often as the pace allows, at most `per_s`; how many were sent."""
    end, sent = clock.at + seconds, 0
    while clock.at < end:
        wait = pace.wait_s(60)
        assert wait is not None
        clock.at += max(wait, 1 / per_s)
        sent += 1
    return sent


def test_an_origin_that_never_refuses_is_not_held_back(pace: Pace, clock: Clock) -> None:
    assert [pace.wait_s(0) for _ in range(100_000)] == [0.0] * 100_000
    assert pace.rate is None


def test_a_refusal_cuts_the_rate_that_was_refused(pace: Pace, clock: Clock) -> None:
    send(pace, clock, 400, 5)
    pace.refused(clock.at)
    assert pace.rate == pytest.approx(200, rel=0.02)
    assert send(pace, clock, 400, 1) == pytest.approx(205, rel=0.15)


def test_requests_sent_before_the_cut_do_not_cut_again(pace: Pace, clock: Clock) -> None:
    send(pace, clock, 400, 5)
    sent_at = clock.at
    clock.at += 0.05
    for _ in range(64):
        pace.refused(sent_at)
    assert pace.rate == pytest.approx(200, rel=0.05)
    clock.at += 1
    pace.refused(clock.at)
    assert pace.rate is not None
    assert pace.rate <= 110


def test_the_rate_grows_back_until_nothing_is_held_back(pace: Pace, clock: Clock) -> None:
    send(pace, clock, 400, 5)
    pace.refused(clock.at)
    clock.at += 10
    assert pace.rate == pytest.approx(300, rel=0.02)
    clock.at += 100
    assert pace.rate is None
    assert [pace.wait_s(0) for _ in range(1000)] == [0.0] * 1000
    pace.refused(clock.at)
    assert pace.rate is not None, "and it can be refused again"


def test_it_never_stops_altogether(pace: Pace, clock: Clock) -> None:
    for _ in range(50):
        pace.refused(clock.at)
        clock.at += POLICY.apart
    assert pace.rate is not None
    assert POLICY.least <= pace.rate < 30


def test_who_cannot_wait_takes_no_place(pace: Pace, clock: Clock) -> None:
    send(pace, clock, 100, 3)
    pace.refused(clock.at)
    waits = [pace.wait_s(0.5) for _ in range(100)]
    taken = [wait for wait in waits if wait is not None]
    assert 20 <= len(taken) <= 32
    assert max(taken) <= 0.5
    clock.at += 0.5
    assert pace.wait_s(0.05) is not None


@pytest.mark.parametrize("seed", range(3))
def test_three_who_share_an_origin_come_to_equal_parts(seed: int) -> None:
    """An origin that grants 600 requests in a second and refuses the others; each asks as often as its pace allows."""
    print(f"seed {seed}")
    rng = random.Random(seed)
    clock = Clock()
    paces = [Pace(POLICY, clock) for _ in range(3)]
    due = [clock.at + rng.random() for _ in paces]
    granted, refused, second, left = [0, 0, 0], 0, 0.0, 600
    while clock.at < 350:
        which = min(range(3), key=due.__getitem__)
        clock.at = max(clock.at, due[which])
        if clock.at - second >= 1:
            second, left = clock.at, 600
        left -= 1
        if left < 0:
            paces[which].refused(clock.at)
            refused += clock.at > 100
        elif clock.at > 100:
            granted[which] += 1
        wait = paces[which].wait_s(60)
        assert wait is not None
        due[which] = clock.at + max(wait, 1 / 900)
    assert sum(granted) > 0.7 * 600 * 250
    assert max(granted) < 1.5 * min(granted)
    assert refused < 0.03 * sum(granted)
