from hypothesis import given
from hypothesis import strategies as st

from forebay_cache.store.policies.contest import Alarms, Contest


@given(st.lists(st.tuples(st.integers(0, 15), st.integers(0, 2**60))))
def test_the_best_is_the_first_of_the_largest(steps: list[tuple[int, int]]) -> None:
    contest, keys = Contest(16), [0] * 16
    for leaf, key in steps:
        contest.put(leaf, key)
        keys[leaf] = key
        assert contest.best() == (keys.index(max(keys)) if any(keys) else -1)
        assert contest.key(leaf) == key


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 100), st.booleans())))
def test_alarms_agree_with_a_dictionary(steps: list[tuple[int, int, bool]]) -> None:
    """Whatever puts a deadline off, the alarm comes at the deadline as it is then, and once."""
    alarms, deadlines, armed, now = Alarms(), dict.fromkeys(range(6), 0), set[int](), 0
    for number, value, arm in steps:
        if arm:
            deadlines[number] = value
            alarms.arm(number, value)
            armed.add(number)
        else:
            deadlines[number] += value  # put off, and nobody tells the alarms
            now += value // 2
        due = {number for number in armed if deadlines[number] <= now}
        assert set(alarms.due(now, deadlines.__getitem__)) == due
        armed -= due


def test_an_alarm_that_nobody_needs_any_more_is_silent() -> None:
    alarms = Alarms()
    alarms.arm(1, 5)
    assert not list(alarms.due(9, lambda _: -1))
    assert not list(alarms.due(9, lambda _: 0))
