"""Every reason that a person can act on has its next step, and only reasons that exist have one."""

import pytest
from tests.rigs import objects

from forebay_operator.api import conditions as words
from forebay_operator.cli import advice

REASONS = {
    reason: (table, kind, status)
    for table in (words.DATASET, words.CACHE_CLUSTER)
    for kind, reasons in table.items()
    for reason, (status, _) in reasons.items()
}
SOURCES = [
    {"name": "a", "s3": {"bucket": "b", "endpoint": "http://s3"}, "credentials": {"secretRef": {"name": "keys"}}},
    {"name": "d", "directory": {"path": "/data"}},
]


def dataset(*conditions: objects.Body) -> objects.Body:
    return objects.dataset("n", sources=SOURCES) | {"status": {"conditions": list(conditions)}}


@pytest.mark.parametrize("reason", [*advice.ADVICE, *advice.BLOCKING, *advice.CONSEQUENCES])
def test_only_reasons_that_exist_are_known(reason: str) -> None:
    assert reason in REASONS


@pytest.mark.parametrize("reason", advice.ADVICE)
def test_every_step_can_be_written(reason: str) -> None:
    (line,) = advice.troubles(dataset(objects.condition("Synced", status="False", reason=reason)))
    assert line.startswith(f"Dataset photos: Synced=False {reason}: ; ")
    assert "{" not in line


def test_a_step_names_secret_and_origins() -> None:
    (line,) = advice.troubles(dataset(objects.condition("Synced", status="False", reason="OriginDenied")))
    assert "Secret keys" in line
    assert "s3://b/ at http://s3, /data" in line


def test_what_merely_waits_is_told_only_alone() -> None:
    never = objects.condition("Ready", status="False", reason="NeverSynced")
    missing = objects.condition("CredentialsValid", status="False", reason="SecretMissing")
    assert len(advice.troubles(dataset(never))) == 1
    assert [line.split()[2] for line in advice.troubles(dataset(never, missing))] == ["CredentialsValid=False"]


def test_states_are_no_troubles() -> None:
    assert advice.troubles(dataset(objects.condition("Suspended", status="False", reason="Active"))) == []
