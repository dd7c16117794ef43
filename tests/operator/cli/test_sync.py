import json

from tests.operator.cli.conftest import DATASET_STATUS, NEW, OLD, Desk
from tests.rigs import objects

from forebay_operator.model import key_of
from forebay_operator.names import SYNC_REQUEST

KEY = key_of(objects.dataset("default"))


def answering(desk: Desk, conditions: object = None, **status: object) -> None:
    """The operator: answers the request at the second look."""
    looks = []

    async def sleep(_: float) -> None:
        looks.append(1)
        request = (await desk.kube.get(KEY))["metadata"]["annotations"][SYNC_REQUEST]
        state = {"state": "Running"} if len(looks) < 2 else {"state": "Succeeded", **status}
        sync = {"listed": 12, "requested": request, **state}
        said = {"conditions": conditions} if conditions else {}
        await desk.put_status(objects.dataset("default"), {**DATASET_STATUS, **said, "sync": sync})

    desk.asleep = sleep


async def test_a_request_is_an_annotation_of_its_own(desk: Desk) -> None:
    await desk.furnish()
    seen = set()
    for _ in range(2):
        assert (await desk.run("sync", "photos")).code == 0
        seen.add((await desk.kube.get(KEY))["metadata"]["annotations"][SYNC_REQUEST])
    assert len(seen) == 2


async def test_waiting_ends_with_what_was_found(desk: Desk) -> None:
    await desk.furnish()
    answering(desk)
    done = await desk.run("sync", "photos", "--wait")
    assert (done.code, done.out) == (0, f"commit {NEW[:12]}: nothing is new\n")


async def test_a_new_commit_is_waited_for_until_a_member_serves_it(desk: Desk) -> None:
    await desk.furnish()
    old = {**DATASET_STATUS, "head": {**DATASET_STATUS["head"], "commit": OLD}}
    await desk.put_status(objects.dataset("default"), old)
    desk.members.uid, desk.members.heads = (await desk.kube.get(KEY))["metadata"]["uid"], [OLD, OLD, NEW]
    answering(desk)
    done = await desk.run("sync", "photos", "--wait")
    assert (done.code, done.out) == (0, f"commit {NEW[:12]}: 1,200 files, 5.0 MiB\n")
    assert desk.members.heads == []


async def test_a_sync_that_fails_fails_the_command(desk: Desk) -> None:
    await desk.furnish()
    answering(desk, state="Failed", message="the origin refused the credentials")
    done = await desk.run("sync", "photos", "--wait", "-o", "json")
    assert done.code == 1
    assert "the origin refused the credentials" in done.err
    assert json.loads(done.out)["sync"]["state"] == "Failed"


async def test_no_end_in_time_is_not_ready(desk: Desk) -> None:
    await desk.furnish()
    done = await desk.run("sync", "photos", "--wait", "--timeout", "0")
    assert done.code == 4
    assert "it goes on" in done.err


async def test_a_wrong_name_lists_those_of_its_namespace(desk: Desk) -> None:
    await desk.furnish()
    await desk.kube.apply(objects.dataset("another"), manager="t")
    done = await desk.run("sync", "fotos")
    assert (done.code, done.err) == (3, "forebay sync: no Dataset default/fotos: there are: default/photos\n")
    done = await desk.run("sync", "fotos", "-n", "empty")
    assert done.err.startswith("forebay sync: no Dataset empty/fotos: namespace empty has none; ")


async def test_json_is_json_also_without_waiting(desk: Desk) -> None:
    await desk.furnish()
    shown = json.loads((await desk.run("sync", "photos", "-o", "json")).out)
    assert (await desk.kube.get(KEY))["metadata"]["annotations"][SYNC_REQUEST] == shown["requested"]


async def test_a_sync_that_cannot_start_says_why_and_does_not_wait(desk: Desk) -> None:
    await desk.furnish()
    bad = objects.condition("CredentialsValid", status="False", reason="SecretMissing")
    bad["message"] = "source photos needs Secret default/keys"
    await desk.put_status(objects.dataset("default"), {**DATASET_STATUS, "conditions": [bad]})
    done = await desk.run("sync", "photos", "--wait")
    assert done.code == 4
    assert "cannot start: source photos needs Secret default/keys; apply that Secret" in done.err


async def test_a_failed_sync_names_the_next_step(desk: Desk) -> None:
    await desk.furnish()
    bad = objects.condition("Synced", status="False", reason="OriginMissing")
    answering(desk, state="Failed", message="NoSuchBucket (HTTP 404)", conditions=[bad])
    done = await desk.run("sync", "photos", "--wait")
    assert done.code == 1
    assert "NoSuchBucket (HTTP 404); check bucket, endpoint and region" in done.err
    assert "s3://photos/" in done.err
