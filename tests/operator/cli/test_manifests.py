from pathlib import Path

import pytest

from forebay_operator.cli.manifests import read_manifests
from forebay_operator.model import BadManifest

EXAMPLES = Path(__file__).parents[3] / "examples"


def test_the_examples_are_read_in_order_with_their_namespace() -> None:
    read = read_manifests([str(EXAMPLES)], "team")
    assert [(m["kind"], m["metadata"]["namespace"]) for m in read] == [
        ("CacheCluster", "team"),
        ("Secret", "team"),
        ("Dataset", "team"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}", "apps/v1/Deployment x: Forebay takes"),
        ("apiVersion: v1\nkind: Secret", "metadata.name is missing"),
        ("- a", "a manifest is a mapping"),
        ("a: [", "is not YAML"),
    ],
)
def test_what_is_no_manifest_of_ours_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(text)
    with pytest.raises(BadManifest, match=message) as met:
        read_manifests([str(file)], "default")
    assert str(file) in str(met.value)


def test_an_empty_directory_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadManifest, match="holds no manifest"):
        read_manifests([str(tmp_path)], "default")
    with pytest.raises(BadManifest, match="No such file"):
        read_manifests([str(tmp_path / "no.yaml")], "default")
