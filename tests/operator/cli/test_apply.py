from pathlib import Path

from tests.operator.cli.conftest import Desk

from forebay_operator.model import CACHE_CLUSTER, DATASET

EXAMPLES = str(Path(__file__).parents[3] / "examples")


async def test_manifests_are_applied_and_deleted_datasets_first(desk: Desk) -> None:
    done = await desk.run("apply", "-f", EXAMPLES)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[0] == "CacheCluster default/main applied"
    assert len((await desk.kube.list(DATASET)).items) == 1
    done = await desk.run("delete", "-f", EXAMPLES)
    assert [line.split()[0] for line in done.out.splitlines()] == ["Secret", "Dataset", "CacheCluster"]
    assert not (await desk.kube.list(CACHE_CLUSTER)).items


async def test_a_broken_rule_names_the_field(desk: Desk, tmp_path: Path) -> None:
    text = "apiVersion: forebay.dev/v1alpha1\nkind: CacheCluster\nmetadata: {name: x}\nspec: {storage: {capacity: 1Gi}}"
    (tmp_path / "bad.yaml").write_text(text)
    done = await desk.run("apply", "-f", str(tmp_path / "bad.yaml"))
    assert done.code == 2
    assert "spec.storage" in done.err
