import pytest

from forebay_operator.monitoring.source.base import Limits, path_fault


@pytest.mark.parametrize(
    "path", ["forebay.yaml", "templates/rules/slo.yaml.j2", "overrides/ns/a cluster.yaml", ".github/x"]
)
def test_honest_paths(path: str) -> None:
    assert path_fault(path, Limits()) == ""


@pytest.mark.parametrize(
    "path", ["../x", "a/./b", "/a", "a//b", ".git/hooks/x", "a/.Git/x", "git\n", "a" * 300, "a/" * 9 + "b"]
)
def test_dishonest_paths(path: str) -> None:
    assert path_fault(path, Limits())
