from forebay_cache.model.failfast import PROBE_S, FailFast


class Clock:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


def test_everything_is_asked_until_one_expires() -> None:
    gate = FailFast(Clock())
    assert gate.admit()
    assert gate.admit()
    gate.expired()
    assert not gate.admit()


def test_one_probe_at_a_time_and_only_after_a_while() -> None:
    clock = Clock()
    gate = FailFast(clock)
    gate.expired()
    clock.time += PROBE_S
    assert gate.admit()
    assert not gate.admit()
    gate.expired()
    assert not gate.admit()
    clock.time += PROBE_S
    assert gate.admit()


def test_an_answer_opens_the_gate() -> None:
    clock = Clock()
    gate = FailFast(clock)
    gate.expired()
    clock.time += PROBE_S
    assert gate.admit()
    gate.answered()
    assert gate.admit()
    assert gate.admit()


def test_a_probe_whose_asker_left_says_nothing() -> None:
    clock = Clock()
    gate = FailFast(clock)
    gate.expired()
    clock.time += PROBE_S
    assert gate.admit()
    gate.gave_up()
    assert gate.failing
    assert gate.admit()
