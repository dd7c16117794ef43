import json

import pytest
from tests.operator.monitoring.trees import findings, tree

GOOD = {
    "uid": "fleet",
    "title": "Fleet",
    "panels": [
        {"targets": [{"expr": 'sum(rate(forebay_s3_requests_total{cache_cluster=~"$cluster"}[$__rate_interval]))'}]}
    ],
}


def found(*models: object) -> list[str]:
    files = {f"templates/dashboards/{n}.json.j2": json.dumps(model, indent=1) for n, model in enumerate(models)}
    return [f"{one.code}:{one.line}" for one in findings(tree(**files))]


def test_a_good_one() -> None:
    assert found(GOOD) == []


@pytest.mark.parametrize(
    ("model", "code"),
    [
        ({**GOOD, "uid": ""}, "MAC701:1"),
        ({**GOOD, "title": ""}, "MAC701:1"),
        ([], "MAC701:1"),
        ({**GOOD, "x": {"expr": "upp"}}, "MAC702:14"),
        ({**GOOD, "x": {"expr": "sum(up"}}, "MAC301:14"),
        ({**GOOD, "x": {"expr": "forebay_s3_requests_total"}}, "MAC306:14"),
    ],
)
def test_each_standard(model: object, code: str) -> None:
    assert found(model) == [code]


def test_uids_are_unique() -> None:
    assert found(GOOD, GOOD) == ["MAC701:2"]


def test_what_is_no_json_is_said() -> None:
    assert [one.code for one in findings(tree(**{"templates/dashboards/a.json.j2": "{"}))] == ["MAC701"]
