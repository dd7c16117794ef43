"""Conditions: stable words, and a time that moves only with the status."""

import re
from collections.abc import Mapping

import pytest

from forebay_operator.api import conditions
from forebay_operator.api.conditions import CACHE_CLUSTER, DATASET, Reasons, condition, merged

THEN, NOW = "2026-01-01T00:00:00Z", "2026-02-02T00:00:00Z"


@pytest.mark.parametrize("table", [CACHE_CLUSTER, DATASET])
def test_words_are_camel_case_and_explained(table: Mapping[str, Reasons]) -> None:
    for type_, reasons in table.items():
        for reason, (status, meaning) in reasons.items():
            assert re.fullmatch(r"([A-Z][a-z]+)+", type_)
            assert re.fullmatch(r"([A-Z][a-z]+)+", reason)
            assert status in ("True", "False", "Unknown")
            assert meaning
    assert conditions.READY in table


def test_a_reason_decides_the_status() -> None:
    one = condition(CACHE_CLUSTER, "Ready", "NoMembers")
    assert (one.status, one.message) == ("False", "spec.replicas is 0")
    assert (
        condition(CACHE_CLUSTER, "Ready", "MembersUnready", "main-0 does not answer").message
        == "main-0 does not answer"
    )


def test_an_unknown_reason_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        condition(DATASET, "Ready", "NoMembers")


def test_the_time_moves_with_the_status_only() -> None:
    first = merged((), [condition(DATASET, "Ready", "NeverSynced")], THEN, 1)
    same = merged(first, [condition(DATASET, "Ready", "ClusterMissing")], NOW, 2)
    turned = merged(first, [condition(DATASET, "Ready", "Readable")], NOW, 2)
    assert [(c.reason, c.last_transition_time, c.observed_generation) for c in same] == [("ClusterMissing", THEN, 2)]
    assert [(c.reason, c.last_transition_time) for c in turned] == [("Readable", NOW)]


def test_what_is_no_longer_said_goes_and_the_rest_is_sorted() -> None:
    old = merged((), [condition(DATASET, "Synced", "Running"), condition(DATASET, "Ready", "Readable")], THEN, 1)
    new = [condition(DATASET, "Suspended", "Active"), condition(DATASET, "Ready", "Readable")]
    assert [c.type for c in merged(old, new, NOW, 1)] == ["Ready", "Suspended"]
