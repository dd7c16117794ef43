import pytest

from forebay_operator.model import MonitoringRefused
from forebay_operator.monitoring.render.repository import Repository, read_repository

ROOT = {"forebay.yaml": b"schema: 1\n"}


def read(tree: dict[str, bytes], pack: dict[str, bytes] | None = None, profile: str = "") -> Repository:
    return read_repository(ROOT | tree, pack or {}, "0.1.0", profile)


def refused(tree: dict[str, bytes], profile: str = "") -> str:
    with pytest.raises(MonitoringRefused) as caught:
        read(tree, profile=profile)
    return str(caught.value)


def test_an_empty_file_is_a_good_one() -> None:
    assert read({"standards/slo.yaml": b""}).standards.slo.availability == 0.999


def test_a_profile_lies_over_the_standards_value_by_value() -> None:
    tree = {
        "standards/slo.yaml": b"availability: 0.99\nreadShare: 0.9\n",
        "profiles/dev.yaml": b"slo: {availability: 0.9}",
    }
    slo = read(tree, profile="dev").standards.slo
    assert (slo.availability, slo.read_share) == (0.9, 0.9)
    assert read(tree).standards.slo.availability == 0.99


def test_a_file_of_the_repository_replaces_the_packs() -> None:
    pack = {"forebay.yaml": b"schema: 1", "runbooks/A.md": b"theirs", "runbooks/B.md": b"theirs"}
    files = read({"runbooks/A.md": b"ours"}, pack).files
    assert (files["runbooks/A.md"].text, files["runbooks/A.md"].shown) == ("ours", "runbooks/A.md")
    assert files["runbooks/B.md"].shown == "pack:runbooks/B.md"
    assert not [name for name in read({"forebay.yaml": b"schema: 1\npack: false"}, pack).files if "B" in name]


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"standards/slo.yaml": b"\navailabilty: 0.9"}, "standards/slo.yaml:2: MAC206"),
        ({"standards/slo.yaml": b"availability: 1.5"}, "standards/slo.yaml:1: MAC206"),
        ({"standards/slo.yaml": b"readSeconds: 0.3"}, "is no bound of the histogram"),
        ({"standards/severities.yaml": b"page: {wait: soon, repeat: 4h}"}, "is not a duration"),
        ({"standards/typo.yaml": b""}, "nobody reads a file of this name"),
        ({"templates/rules/x.yaml": b""}, "nobody reads a file of this name"),
        ({"metrics.yaml": b"metrics: [{name: a b, type: gauge}]"}, "metrics.yaml:1: MAC206"),
        ({"overrides/ns/c.yaml": b"slo: {availability: 2}"}, "overrides/ns/c.yaml:1: MAC206"),
        ({"forebay.yaml": b"schema: 2"}, "forebay.yaml:1: MAC208"),
        ({"forebay.yaml": b"schema: 1\noperator: '9.0'"}, "forebay.yaml:2: MAC208"),
        ({"forebay.yaml": b"prometheus: '2.42'"}, "forebay.yaml:1: MAC206"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tree: dict[str, bytes], said: str) -> None:
    assert said in refused(tree)


def test_an_unknown_profile_is_refused() -> None:
    assert "there is no profile 'prod'" in refused({}, "prod")
