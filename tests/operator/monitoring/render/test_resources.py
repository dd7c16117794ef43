import pytest

from forebay_operator.model import MonitoringRefused
from forebay_operator.monitoring.render.resources import Cluster, Resources, read_fixtures


def test_order_of_discovery_does_not_show() -> None:
    a, b = Cluster(namespace="x", name="a"), Cluster(namespace="w", name="b")
    assert Resources(clusters=(a, b)).values() == Resources(clusters=(b, a)).values()


def test_fixtures_are_read() -> None:
    text = "clusters:\n  - {namespace: a, name: b, owner: c, members: 3, origins: [s3 aws eu-west-1 x]}"
    assert read_fixtures(text, "f").clusters[0].members == 3


@pytest.mark.parametrize("owner", ['a"b', "a\nb", "a{b", "", "a#b"])
def test_nothing_that_ends_a_string_of_yaml_or_promql_comes_in(owner: str) -> None:
    with pytest.raises(ValueError, match="owner"):
        Cluster(namespace="a", name="b", owner=owner)


def test_a_typo_is_said_with_its_line() -> None:
    with pytest.raises(MonitoringRefused, match="f:2: MAC206"):
        read_fixtures("clusters:\n  - {namespace: a, nam: b}", "f")
