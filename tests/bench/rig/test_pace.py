"""Bytes pass at the rate of the line, in order."""

import pytest
from bench.rig.pace import BURST_S, Pace


def test_bytes_take_their_time() -> None:
    assert Pace(100.0).arrival(50, now=1000.0) == pytest.approx(1000.5 - BURST_S)


def test_what_comes_at_once_queues() -> None:
    pace = Pace(100.0)
    assert [round(pace.arrival(10, 5.0) + BURST_S, 6) for _ in range(3)] == [5.1, 5.2, 5.3]


def test_a_line_that_rested_saves_nothing_up() -> None:
    pace = Pace(100.0)
    pace.arrival(10, 0.0)
    assert pace.arrival(100, 3600.0) == pytest.approx(3601.0 - BURST_S)


def test_a_late_sender_catches_up_within_the_burst() -> None:
    pace = Pace(100.0)
    first = pace.arrival(10, 0.0)
    assert pace.arrival(10, first + BURST_S / 2) == pytest.approx(first + 0.1)


def test_no_rate_is_no_limit() -> None:
    assert Pace(None).arrival(10**12, 7.0) == 7.0
