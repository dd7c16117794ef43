from typing import Any

import pytest
from tests.rigs import objects

from forebay_operator import names
from forebay_operator.api import v1alpha1 as api
from forebay_operator.facts import DatasetFacts, Facts, MemberFacts, endpoint, read_keys, taken_buckets
from forebay_operator.model import CACHE_CLUSTER, Key


def dataset(name: str, made: str, uid: str, **s3: Any) -> DatasetFacts:
    body = objects.dataset("ns", name, s3=s3)
    body["metadata"] |= {"creationTimestamp": made, "uid": uid}
    return DatasetFacts(body, api.Dataset.model_validate(body), None, False, {}, None, None)


FIRST = dataset("photos", "2026-01-01T00:00:00Z", "u9")
LATER = dataset("others", "2026-01-01T00:00:01Z", "u1", bucket="photos")
AT_ONCE = dataset("thirds", "2026-01-01T00:00:00Z", "u8", bucket="photos")


@pytest.mark.parametrize(
    ("datasets", "taken"),
    [
        ([FIRST], set()),
        ([FIRST, dataset("others", "2025-01-01T00:00:00Z", "u0")], set()),
        ([FIRST, LATER], {"u1"}),
        ([LATER, FIRST], {"u1"}),
        ([FIRST, AT_ONCE, LATER], {"u9", "u1"}),
    ],
)
def test_the_oldest_keeps_a_bucket_and_of_two_of_one_second_the_lower_uid(
    datasets: list[DatasetFacts], taken: set[str]
) -> None:
    assert taken_buckets(datasets) == taken


def member(*, ready: bool) -> MemberFacts:
    return MemberFacts("main-0", "127.64.0.1", ready=ready, restarts=0, report=None, message="")


@pytest.mark.parametrize(
    ("members", "service", "before", "url"),
    [
        ([], {}, None, None),
        ([member(ready=False)], {}, None, None),
        ([member(ready=True)], {}, None, "http://127.64.0.1:7450"),
        ([member(ready=False)], {}, "http://before", "http://before"),
        ([member(ready=True)], {"clusterIP": "10.0.0.1"}, None, "http://main-s3.ns.svc:7450"),
        ([], {"clusterIP": "10.0.0.1"}, None, "http://main-s3.ns.svc:7450"),
    ],
)
def test_the_endpoint_is_the_service_where_services_have_addresses(
    members: list[MemberFacts], service: Any, before: str | None, url: str | None
) -> None:
    model = api.CacheCluster.model_validate({**objects.cluster("ns"), "status": {"endpoint": before}})
    children = {names.s3("ns", "main"): {"spec": service}}
    assert endpoint(Facts(Key(CACHE_CLUSTER, "ns", "main"), {}, model, children, members)) == url


@pytest.mark.parametrize(
    "secret", [None, {}, {"data": {}}, {"data": {"AWS_ACCESS_KEY_ID": "QQ=="}}, {"data": {"AWS_ACCESS_KEY_ID": "!"}}]
)
def test_keys_that_are_not_whole_are_none(secret: Any) -> None:
    assert read_keys(secret) is None
