import inspect

import pytest

from forebay_cache.model import errors
from forebay_cache.serve.s3errors import S3Refusal, message_of, s3_error

CLASSES = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, errors.ForebayError)]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_has_an_answer(kind: type[errors.ForebayError]) -> None:
    error = kind("why")
    found = s3_error(error)
    assert 400 <= found.status < 600
    assert message_of(error, found)


@pytest.mark.parametrize("kind", [c for c in CLASSES if c.retry])
def test_what_a_retry_can_heal_is_a_5xx(kind: type[errors.ForebayError]) -> None:
    assert s3_error(kind("why")).status >= 500


def test_an_internal_error_tells_the_client_nothing() -> None:
    error = ValueError("/var/lib/secret")
    assert "secret" not in message_of(error, s3_error(error))
    assert s3_error(error).status == 500


def test_drift_is_gone_and_not_retried() -> None:
    assert (s3_error(errors.PartGone("x")).status, s3_error(errors.PartGone("x")).code) == (410, "ObjectGone")


def test_a_refusal_brings_its_own() -> None:
    assert s3_error(S3Refusal(405, "MethodNotAllowed", "m")).code == "MethodNotAllowed"
