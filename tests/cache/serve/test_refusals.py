import logging

import pytest

from forebay_cache.model.errors import KeyUnknown, OriginDenied, PartGone
from forebay_cache.serve.refusals import A_SECOND, PATH_LIMIT, Refusals
from forebay_cache.serve.s3errors import S3Refusal


class Clock:
    def __init__(self) -> None:
        self.time = 10.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize(
    ("error", "level"),
    [
        (S3Refusal(404, "NoSuchKey", "m"), logging.INFO),
        (S3Refusal(501, "NotImplemented", "m"), logging.INFO),
        (S3Refusal(503, "SlowDown", "m"), logging.WARNING),
        (KeyUnknown("m"), logging.INFO),
        (PartGone("m"), logging.WARNING),
        (OriginDenied("m"), logging.WARNING),
        (TimeoutError(), logging.WARNING),
    ],
)
def test_what_is_not_the_clients_is_a_warning(logged, clock: Clock, error: Exception, level: int) -> None:
    Refusals(clock).record(error, "/b/k", "::1", "R1")
    (record,) = logged.records
    assert record.levelno == level
    assert (record.path, record.client, record.request) == ("/b/k", "::1", "R1")
    assert record.error


def test_a_flood_of_one_code_is_cut_and_counted(logged, clock: Clock) -> None:
    refusals = Refusals(clock)
    for _ in range(A_SECOND + 7):
        refusals.record(KeyUnknown("m"), "/b/k", "", "")
    refusals.record(PartGone("m"), "/b/k", "", "")
    assert len(logged.records) == A_SECOND + 1
    clock.time += 1
    for _ in range(2):
        refusals.record(KeyUnknown("m"), "/b/k", "", "")
    assert [getattr(record, "left_out", 0) for record in logged.records[-2:]] == [7, 0]


def test_a_long_path_is_cut(logged, clock: Clock) -> None:
    Refusals(clock).record(KeyUnknown("m"), "/" + "k" * 30_000, "", "")
    assert len(logged.records[0].path) == PATH_LIMIT
