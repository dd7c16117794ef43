import json

from tests.operator.cli.conftest import NOW, Desk
from tests.rigs import objects


async def test_clusters_members_and_datasets_are_shown(desk: Desk) -> None:
    await desk.furnish()
    desk.now = lambda: NOW
    done = await desk.run("status")
    assert (done.code, done.err) == (0, "")
    lines = [line.split() for line in done.out.splitlines()]
    assert ["main", "True", "1/1", "3.0", "MiB", "of", "1.0", "GiB", "http://127.0.0.1:7450"] in lines
    assert ["main-0", "main", "True", "0", "3.0", "MiB", "10m", "ready"] in lines
    assert ["photos", "True", "bbbbbbbbbbbb", "bbbbbbbbbbbb", "1,200", "5.0", "MiB", "20%", "-", "Succeeded"] in lines


async def test_what_is_used_is_what_the_member_says_now(desk: Desk) -> None:
    await desk.furnish()
    desk.members.used = 700 << 20
    shown = json.loads((await desk.run("status", "-o", "json")).out)
    assert shown["members"][0]["usedBytes"] == 700 << 20
    assert shown["clusters"][0]["capacity"] == {"total": 1 << 30, "used": 700 << 20}
    assert desk.members.closed


async def test_what_is_cached_is_what_the_member_says_now(desk: Desk) -> None:
    await desk.furnish()
    desk.members.uid = json.loads((await desk.run("status", "-o", "json")).out)["datasets"][0]["object"]["metadata"][
        "uid"
    ]
    desk.members.cached = 4 << 20
    assert json.loads((await desk.run("status", "-o", "json")).out)["datasets"][0]["cachedPercent"] == 80


async def test_the_disk_of_a_dataset_is_shown_beside_the_most_it_may_use(desk: Desk) -> None:
    await desk.furnish()
    dataset = json.loads((await desk.run("status", "-o", "json")).out)["datasets"][0]["object"]
    desk.members.uid, desk.members.cached = dataset["metadata"]["uid"], 4 << 20
    lines = [line.split() for line in (await desk.run("status")).out.splitlines()]
    assert ["80%", "4.0", "MiB", "Succeeded"] in [line[-4:] for line in lines]


async def test_what_is_used_is_what_was_last_told_where_the_member_is_silent(desk: Desk) -> None:
    await desk.furnish()
    desk.members.used, desk.members.silent = 700 << 20, True
    done = await desk.run("status")
    assert (done.code, done.err) == (0, "")
    assert "3.0 MiB of 1.0 GiB" in done.out


async def test_a_member_that_dies_shows_why(desk: Desk) -> None:
    await desk.furnish(ready=False)
    done = await desk.run("status")
    assert "ended with exit code 3: no disk, restarted 2 times" in done.out


async def test_conditions_that_are_false_are_told_in_words(desk: Desk) -> None:
    await desk.furnish()
    bad = objects.condition("OriginReachable", status="False", reason="OriginDenied")
    await desk.put_status(objects.dataset("default"), {"conditions": [bad]})
    assert "Dataset photos: OriginReachable=False OriginDenied" in (await desk.run("status")).out


async def test_nothing_there_says_what_to_do(desk: Desk) -> None:
    assert (await desk.run("status")).out.count("`forebay apply -f` makes one") == 2


async def test_json_holds_rows_and_whole_objects_but_no_secret(desk: Desk) -> None:
    await desk.furnish()
    out = (await desk.run("status", "-o", "json")).out
    shown = json.loads(out)
    assert shown["members"][0]["restarts"] == 0
    assert shown["datasets"][0]["object"]["status"]["head"]["files"] == 1200
    assert "a-secret" not in out
    assert (shown["datasets"][0]["ready"], shown["datasets"][0]["files"]) == (True, 1200)
    assert "managedFields" not in out


async def test_a_dataset_that_serves_an_older_commit_says_so(desk: Desk) -> None:
    await desk.furnish()
    await desk.run("rollback", "photos", "a")
    assert "aaaaaaaaaaaa (pinned)" in (await desk.run("status")).out


async def test_one_cause_is_told_once_and_with_the_next_step(desk: Desk) -> None:
    await desk.furnish()
    kinds = ("CredentialsValid", "OriginReachable", "Synced")
    bad = [objects.condition(kind, status="False", reason="OriginDenied") for kind in kinds]
    never = objects.condition("Ready", status="False", reason="NeverSynced")
    await desk.put_status(objects.dataset("default"), {"conditions": [*bad, never]})
    told = (await desk.run("status")).out
    assert told.count("OriginDenied") == 1
    assert "NeverSynced" not in told
    assert "check the keys in" in told
