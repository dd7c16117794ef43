import json

from tests.operator.cli.conftest import NEW, OLD, Desk


async def test_commits_come_from_a_ready_member_with_the_operators_certificate(desk: Desk) -> None:
    await desk.furnish()
    done = await desk.run("commits", "photos")
    assert done.code == 0
    assert [line.split()[0] for line in done.out.splitlines()[1:]] == [NEW[:12], OLD[:12]]
    assert done.out.splitlines()[1].endswith("head")
    assert desk.members.asked == [("127.0.0.1", 9450, b"authority")]
    assert desk.members.closed


async def test_json_has_whole_ids(desk: Desk) -> None:
    await desk.furnish()
    shown = json.loads((await desk.run("commits", "photos", "-o", "json")).out)
    assert [(c["id"], c["head"]) for c in shown] == [(NEW, True), (OLD, False)]


async def test_no_ready_member_says_why(desk: Desk) -> None:
    await desk.furnish(ready=False)
    done = await desk.run("commits", "photos")
    assert done.code == 4
    assert "main-0: ended with exit code 3: no disk" in done.err


async def test_a_pinned_commit_is_marked(desk: Desk) -> None:
    await desk.furnish()
    await desk.run("rollback", "photos", "a")
    assert (await desk.run("commits", "photos")).out.splitlines()[2].endswith("pinned: readers see this")
    shown = json.loads((await desk.run("commits", "photos", "-o", "json")).out)
    assert [c["pinned"] for c in shown] == [False, True]
