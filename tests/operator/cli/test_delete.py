import pytest
from tests.operator.cli.conftest import Desk

from forebay_operator.model import DATASET


async def test_objects_are_deleted_by_name(desk: Desk) -> None:
    await desk.furnish()
    assert (await desk.run("delete", "dataset", "photos")).out == "Dataset default/photos deleted\n"
    assert not (await desk.kube.list(DATASET)).items
    assert (await desk.run("delete", "datasets", "default/photos")).code == 3


@pytest.mark.parametrize("argv", [(), ("pod", "x"), ("dataset",), ("dataset", "a/b/c")])
async def test_what_cannot_be_meant_is_usage(desk: Desk, argv: tuple[str, ...]) -> None:
    done = await desk.run("delete", *argv)
    assert done.code == 2
