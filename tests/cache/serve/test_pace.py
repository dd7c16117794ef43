from forebay_cache.serve.base import Limits
from forebay_cache.serve.pace import Pace

LIMITS = Limits(header_s=10, idle_s=75, slowest_bytes_s=1000, slow_s=20)


def test_an_idle_client_is_ended() -> None:
    pace = Pace(LIMITS, 0.0)
    assert pace.check(70, busy=False, in_head=False, waiting=False, moved=0) == "fine"
    assert pace.check(76, busy=False, in_head=False, waiting=False, moved=0) == "idle"


def test_a_client_that_asked_meanwhile_is_not_idle() -> None:
    pace = Pace(LIMITS, 0.0)
    assert pace.check(70, busy=False, in_head=False, waiting=False, moved=5) == "fine"
    assert pace.check(140, busy=False, in_head=False, waiting=False, moved=5) == "fine"


def test_a_head_has_its_time_from_its_first_byte() -> None:
    pace = Pace(LIMITS, 0.0)
    assert pace.check(60, busy=False, in_head=True, waiting=False, moved=0) == "fine"
    assert pace.check(69, busy=False, in_head=True, waiting=False, moved=0) == "fine"
    assert pace.check(71, busy=False, in_head=True, waiting=False, moved=0) == "head"


def test_a_slow_taker_is_ended() -> None:
    pace = Pace(LIMITS, 0.0)
    assert pace.check(1, busy=True, in_head=False, waiting=True, moved=0) == "fine"
    assert pace.check(20, busy=True, in_head=False, waiting=True, moved=100) == "fine"
    assert pace.check(22, busy=True, in_head=False, waiting=True, moved=200) == "slow"


def test_a_fast_enough_taker_goes_on() -> None:
    pace = Pace(LIMITS, 0.0)
    for second in range(1, 200):
        assert pace.check(second, busy=True, in_head=False, waiting=True, moved=second * 1100) == "fine"


def test_waiting_for_the_origin_is_not_the_clients_fault() -> None:
    pace = Pace(LIMITS, 0.0)
    for second in range(1, 200):
        assert pace.check(second, busy=True, in_head=False, waiting=False, moved=0) == "fine"
