import pytest
from tests.rigs.policies import mark

from forebay_cache.store.policies.sketch import Sketch


@pytest.mark.parametrize("count", [1, 10, 1000, 5000, 20_000, 100_000])
def test_counts_within_a_tenth(count: int) -> None:
    sketch = Sketch()
    for number in range(count):
        sketch.add(mark(number))
    assert abs(sketch.count() - count) <= max(0.1 * count, 0.5)


def test_what_is_known_changes_nothing() -> None:
    sketch = Sketch()
    for number in range(3000):
        sketch.add(mark(number))
    known = sketch.count()
    for number in range(3000):
        sketch.add(mark(number))
    assert sketch.count() == known


def test_a_cleared_sketch_is_empty() -> None:
    sketch = Sketch()
    sketch.add(0)
    assert sketch.count() > 0
    sketch.clear()
    assert sketch.count() == 0
