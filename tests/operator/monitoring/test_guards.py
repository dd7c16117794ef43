import pytest
from tests.operator.monitoring.trees import tree, verdict

from forebay_operator.monitoring.guards import Budget, prune_findings, size_findings

TEN = {f"o{n}": "x" for n in range(10)}


def first(count: int) -> dict[str, str]:
    return dict(list(TEN.items())[:count])


@pytest.mark.parametrize(
    ("before", "after", "trips"),
    [
        (TEN, TEN, False),
        ({}, {}, False),
        ({}, TEN, False),
        (TEN, first(7), False),
        (TEN, first(6), True),
        (TEN, {}, True),
        (first(1), {}, True),
        (first(2), first(1), False),
        (TEN, {f"other{n}": "x" for n in range(10)}, True),
    ],
)
def test_removing_much_is_a_mistake_until_somebody_says_it_is_not(
    before: dict[str, str], after: dict[str, str], trips: bool
) -> None:
    assert [one.code for one in prune_findings(before, after, Budget())] == (["MAC802"] if trips else [])


def test_an_object_has_a_size() -> None:
    bundle = verdict(tree()).bundle
    assert bundle
    assert [one.file for one in size_findings(bundle, Budget(object_bytes=10))] == ["templates/rules/own.yaml.j2"]
    assert list(size_findings(bundle, Budget())) == []
