from tests.operator.cli.conftest import NEW, OLD, Desk


async def test_the_head_is_compared_with_its_parent(desk: Desk) -> None:
    await desk.furnish()
    done = await desk.run("diff", "photos")
    tail = f"{OLD[:12]}..{NEW[:12]}: 3 added, 1 removed, 0 changed (1 path not listed)"
    assert done.out.splitlines() == ["+ x", "+ y", "- z", tail]


async def test_commits_are_named_by_their_first_letters(desk: Desk) -> None:
    await desk.furnish()
    assert (await desk.run("diff", "photos", "bb", "a")).out.splitlines()[-1].startswith(f"{NEW[:12]}..{OLD[:12]}")
    done = await desk.run("diff", "photos", "c")
    assert done.code == 3
    assert "`forebay commits photos` lists them" in done.err
