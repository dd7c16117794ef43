from tests.operator.cli.conftest import OLD, Desk
from tests.rigs import objects

from forebay_operator.model import key_of

KEY = key_of(objects.dataset("default"))


async def test_an_older_commit_is_pinned_and_let_go_again(desk: Desk) -> None:
    await desk.furnish()
    assert (await desk.run("rollback", "photos", "aaaa")).code == 0
    spec = (await desk.kube.get(KEY))["spec"]
    assert spec["version"] == {"mode": "Pinned", "commit": OLD}
    assert spec["sources"]
    assert (await desk.run("rollback", "photos", "--latest")).code == 0
    assert (await desk.kube.get(KEY))["spec"]["version"] == {"mode": "Latest"}


async def test_it_must_be_one_or_the_other(desk: Desk) -> None:
    await desk.furnish()
    assert (await desk.run("rollback", "photos")).code == 2
    assert (await desk.run("rollback", "photos", "aaaa", "--latest")).code == 2
