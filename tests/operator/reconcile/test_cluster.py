"""The walk of one look, on the dictionary and on a real API server, over members that answer from memory."""

import base64

import pytest
from tests.operator.reconcile.conftest import World

from forebay_operator import names
from forebay_operator.model import (
    CACHE_CLUSTER,
    CONFIG_MAP,
    DATASET,
    SECRET,
    SERVICE,
    STATEFUL_SET,
    KubeForbidden,
    Object,
)

COMMIT = "c" * 64


async def test_a_cluster_becomes_its_children_all_owned_by_it(world: World) -> None:
    await world.cluster()
    await world.look()
    for kind, name in (
        (STATEFUL_SET, "main"), (CONFIG_MAP, "main-config"), (SERVICE, "main-members"), (SERVICE, "main-s3"),
        (SECRET, "main-state"), (SECRET, "main-ca"), (SECRET, "main-admin"), (SECRET, "main-operator"),
    ):  # fmt: skip
        child = await world.get(kind, name)
        assert child["metadata"]["ownerReferences"][0]["kind"] == "CacheCluster", name
    assert (await world.reasons(CACHE_CLUSTER, "main"))["Ready"] == "MembersUnready"


async def test_a_dataset_is_pushed_synced_and_becomes_readable(world: World) -> None:
    uid = await world.served(COMMIT)
    status = (await world.get(DATASET, "photos"))["status"]
    assert status["head"]["commit"] == COMMIT
    assert status["bucket"] == "photos"
    assert (await world.reasons(DATASET, "photos"))["Ready"] == "Readable"
    assert world.member.state is not None
    (pushed,) = world.member.state.datasets
    assert (pushed.uid, pushed.head, pushed.bucket) == (uid, COMMIT, "photos")
    secret = await world.get(SECRET, "photos-s3")
    key = base64.b64decode(secret["data"]["AWS_ACCESS_KEY_ID"]).decode()
    assert pushed.access_keys[0].access_key_id == key
    assert (await world.reasons(CACHE_CLUSTER, "main"))["Ready"] == "AllMembersReady"


async def test_a_settled_world_is_looked_at_without_a_write(world: World) -> None:
    await world.served(COMMIT)
    world.kube.writes.clear()
    await world.look(3)
    assert world.kube.writes == []


async def test_a_sync_that_finds_nothing_new_writes_nothing(world: World) -> None:
    uid = await world.served(COMMIT)
    world.kube.writes.clear()
    world.clock[0] += 301
    await world.look()
    assert world.member.started == 2
    world.member.end(uid, COMMIT, world.now_ms)
    await world.look(2)
    assert world.kube.writes == []


async def test_a_request_starts_one_sync_and_is_answered(world: World) -> None:
    uid = await world.served(COMMIT)
    await world.dataset(annotations={names.SYNC_REQUEST: "now-1"})
    await world.look(2)
    assert world.member.started == 2
    world.member.end(uid, "d" * 64, world.now_ms)
    await world.look(3)
    status = (await world.get(DATASET, "photos"))["status"]
    assert status["sync"]["requested"] == "now-1"
    assert [one["id"] for one in status["commits"]] == ["d" * 64, COMMIT]
    await world.look(3)
    assert world.member.started == 2


async def test_a_failed_sync_says_why_and_is_tried_again_later(world: World) -> None:
    uid = await world.served(COMMIT)
    world.clock[0] += 301
    await world.look()
    world.member.fail(uid, "OriginDenied", world.now_ms)
    await world.look(2)
    reasons = await world.reasons(DATASET, "photos")
    assert (reasons["Synced"], reasons["CredentialsValid"], reasons["Ready"]) == (
        "OriginDenied",
        "OriginDenied",
        "Readable",
    )
    started = world.member.started
    await world.look(2)
    assert world.member.started == started
    world.clock[0] += 11
    await world.look()
    assert world.member.started == started + 1


async def test_a_hand_edit_of_our_field_is_undone_and_a_foreign_field_is_left(world: World) -> None:
    await world.cluster()
    await world.look()
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "main-s3", "annotations": {"me": "here"}}}
    await world.apply(
        {**service, "spec": {"ports": [{"name": "s3", "port": 7450, "protocol": "TCP", "targetPort": 1}]}}
    )
    await world.look()
    live = await world.get(SERVICE, "main-s3")
    assert live["spec"]["ports"][0]["targetPort"] == "s3"
    assert live["metadata"]["annotations"]["me"] == "here"


async def test_a_missing_origin_secret_is_named(world: World) -> None:
    await world.cluster()
    source = {"name": "s", "s3": {"bucket": "photos"}, "credentials": {"secretRef": {"name": "origin-keys"}}}
    await world.dataset(sources=[source])
    await world.look(2)
    assert (await world.reasons(DATASET, "photos"))["CredentialsValid"] == "SecretMissing"
    data = {name: base64.b64encode(b"value").decode() for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    await world.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "origin-keys"}, "data": data})
    await world.look(2)
    assert (await world.reasons(DATASET, "photos"))["CredentialsValid"] == "Given"


async def test_a_dataset_without_cluster_says_so(world: World) -> None:
    await world.dataset()
    await world.look()
    assert (await world.reasons(DATASET, "photos"))["Ready"] == "ClusterMissing"


async def test_the_older_of_two_datasets_keeps_the_bucket(world: World) -> None:
    await world.served(COMMIT)
    world.clock[0] += 2
    await world.dataset("second", s3={"bucket": "photos"})
    await world.look(2)
    reasons = {name: (await world.reasons(DATASET, name))["BucketUnique"] for name in ("photos", "second")}
    assert sorted(reasons.values()) == ["BucketTaken", "Unique"]


async def test_a_pinned_commit_is_served_whatever_comes(world: World) -> None:
    uid = await world.served(COMMIT)
    await world.dataset(version={"mode": "Pinned", "commit": COMMIT})
    world.clock[0] += 301
    await world.look(2)
    world.member.end(uid, "d" * 64, world.now_ms)
    await world.look(4)
    assert world.member.state is not None
    assert world.member.state.datasets[0].head == COMMIT
    assert (await world.get(DATASET, "photos"))["status"]["head"]["commit"] == "d" * 64


async def test_a_suspended_cluster_is_left_as_it_is_and_says_so_once(world: World) -> None:
    await world.cluster(suspend=True)
    await world.look(3)
    assert world.kube.writes == ["apply_status main"]
    assert (await world.reasons(CACHE_CLUSTER, "main"))["Suspended"] == "Asked"


async def test_what_a_server_spells_another_way_is_no_drift(world: World) -> None:
    """1024Mi comes back as 1Gi, 1000m as 1: a comparison of values would write for ever."""
    resources = {"requests": {"cpu": "1000m", "memory": "1024Mi"}, "limits": {"cpu": 2}}
    await world.served(COMMIT, storage={"capacity": "2048Gi", "claim": {}}, resources=resources)
    world.kube.writes.clear()
    await world.look(3)
    assert world.kube.writes == []


async def test_an_edit_of_the_spec_reaches_the_children(world: World) -> None:
    await world.served(COMMIT)
    await world.cluster(
        s3={"port": 7460}, lowWatermarkPercent=70, image={"repository": "r", "tag": "t", "pullPolicy": "Never"}
    )
    await world.dataset(s3={"bucket": "pictures"})
    await world.settle()
    assert (await world.get(SERVICE, "main-s3"))["spec"]["ports"][0]["port"] == 7460
    assert '"low_watermark_percent": 70' in (await world.get(CONFIG_MAP, "main-config"))["data"]["member.json"]
    (container,) = (await world.get(STATEFUL_SET, "main"))["spec"]["template"]["spec"]["containers"]
    assert (container["image"], container["imagePullPolicy"]) == ("r:t", "Never")
    secret = {name: base64.b64decode(v).decode() for name, v in (await world.get(SECRET, "photos-s3"))["data"].items()}
    assert secret["BUCKET"] == "pictures"
    assert secret["AWS_ENDPOINT_URL"].endswith(":7460")
    assert world.member.state is not None
    assert world.member.state.datasets[0].bucket == "pictures"
    assert world.member.state.datasets[0].access_keys[0].access_key_id == secret["AWS_ACCESS_KEY_ID"]


async def test_members_get_new_state_also_after_its_durable_copy_was_lost(world: World) -> None:
    await world.served(COMMIT)
    assert world.member.state is not None
    before = world.member.state.version
    await world.kube.kube.delete(names.state(world.namespace, "main"))
    await world.dataset(s3={"bucket": "pictures"})
    await world.settle()
    assert world.member.state.version > before
    assert world.member.state.datasets[0].bucket == "pictures"


async def test_no_state_is_pushed_that_is_not_written_down(world: World) -> None:
    """A version is one content: were it pushed first, the next look could give the version to another."""
    await world.served(COMMIT)
    pushed = world.member.state
    world.kube.refused.add(("apply", "main-state"))
    await world.dataset(s3={"bucket": "pictures"})
    await world.look(2)
    assert world.member.state == pushed
    assert (await world.reasons(CACHE_CLUSTER, "main"))["Applied"] == "Forbidden"
    world.kube.refused.clear()
    await world.settle()
    assert world.member.state is not None
    assert world.member.state.datasets[0].bucket == "pictures"


async def test_what_belongs_to_others_is_never_taken_over(world: World) -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "main-s3"}}
    await world.apply({**service, "spec": {"ports": [{"name": "web", "port": 80, "protocol": "TCP"}]}})
    theirs = {
        "AWS_ACCESS_KEY_ID": base64.b64encode(b"theirs").decode(),
        "AWS_SECRET_ACCESS_KEY": base64.b64encode(b"x").decode(),
    }
    await world.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "photos-s3"}, "data": theirs})
    before = [await world.get(kind, name) for kind, name in ((SERVICE, "main-s3"), (SECRET, "photos-s3"))]
    await world.served(COMMIT)
    assert before == [await world.get(kind, name) for kind, name in ((SERVICE, "main-s3"), (SECRET, "photos-s3"))]
    assert (await world.reasons(CACHE_CLUSTER, "main"))["Applied"] == "Conflict"
    assert (await world.reasons(DATASET, "photos"))["Ready"] == "SecretTaken"
    assert world.member.state is not None
    assert world.member.state.datasets[0].access_keys == ()


async def test_certificates_stay_though_somebody_took_their_label_away(world: World) -> None:
    await world.served(COMMIT)
    before = (await world.get(SECRET, "main-ca"))["data"]
    for name in ("main-ca", "main-admin", "main-operator"):
        await world.apply(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "labels": {names.CLUSTER_LABEL: "x"}}}
        )
    await world.look(2)
    assert (await world.get(SECRET, "main-ca"))["data"] == before


async def test_a_lost_certificate_is_made_anew_by_the_same_authority(world: World) -> None:
    await world.served(COMMIT)
    kept = (await world.get(SECRET, "main-admin"))["data"]
    await world.kube.kube.delete(names.operator_tls(world.namespace, "main"))
    await world.settle()
    assert (await world.get(SECRET, "main-operator"))["data"]["ca.crt"] == kept["ca.crt"]
    assert (await world.get(SECRET, "main-admin"))["data"] == kept


async def test_an_answered_request_leaves_later_syncs_quiet(world: World) -> None:
    uid = await world.served(COMMIT)
    await world.dataset(annotations={names.SYNC_REQUEST: "now-1"})
    await world.look(2)
    world.member.end(uid, COMMIT, world.now_ms)
    await world.settle()
    assert (await world.get(DATASET, "photos"))["status"]["sync"]["requested"] == "now-1"
    await world.due()
    await world.look()
    world.member.end(uid, COMMIT, world.now_ms)
    await world.look(2)
    assert world.kube.writes == []


async def test_a_request_is_not_answered_by_a_sync_that_began_before_it(world: World) -> None:
    uid = await world.served(COMMIT)
    await world.due()
    await world.dataset(annotations={names.SYNC_REQUEST: "now-1"})
    await world.look()
    world.member.end(uid, "d" * 64, world.now_ms)
    started = world.member.started
    await world.look()
    status = (await world.get(DATASET, "photos"))["status"]
    assert status["head"]["commit"] == "d" * 64
    assert status["sync"].get("requested", "") == ""
    await world.look(2)
    assert world.member.started == started + 1
    world.member.end(uid, "d" * 64, world.now_ms)
    await world.settle()
    assert (await world.get(DATASET, "photos"))["status"]["sync"]["requested"] == "now-1"


async def test_a_new_commit_says_when_its_sync_ended(world: World) -> None:
    uid = await world.served(COMMIT)
    before = (await world.get(DATASET, "photos"))["status"]["sync"]["finishTime"]
    await world.due()
    world.member.end(uid, "d" * 64, world.now_ms)
    await world.settle()
    assert (await world.get(DATASET, "photos"))["status"]["sync"]["finishTime"] > before


async def test_a_long_listing_is_written_in_growing_steps(world: World) -> None:
    await world.cluster()
    uid = await world.dataset()
    await world.look()
    await world.pod()
    await world.settle()
    for listed in range(1_000, 60_000, 1_000):
        world.member.list(uid, listed)
        await world.look()
    assert (await world.get(DATASET, "photos"))["status"]["sync"]["listed"] > 40_000
    assert 5 < len(world.kube.writes) < 25


async def test_an_origin_that_stays_away_is_written_once(world: World) -> None:
    uid = await world.served(COMMIT)
    await world.due()
    world.member.fail(uid, "OriginUnavailable", world.now_ms)
    await world.settle()
    started = world.member.started
    for _ in range(4):
        world.clock[0] += 600
        await world.look()
        world.member.fail(uid, "OriginUnavailable", world.now_ms)
        await world.look()
    assert world.member.started == started + 4
    assert world.kube.writes == []


async def test_a_sync_that_cannot_start_is_not_tried_every_second(world: World) -> None:
    source = {"name": "s", "s3": {"bucket": "photos"}, "credentials": {"secretRef": {"name": "origin-keys"}}}
    await world.cluster()
    await world.pod()
    await world.dataset(sources=[source])
    await world.settle()
    assert await world.look() == 5.0, "no event tells that somebody made a Secret"
    await world.dataset()
    world.member.refuses = "the catalog's disk is full"
    await world.look(5)
    assert world.member.started == 1
    world.clock[0] += 11
    await world.look(5)
    assert world.member.started == 2


async def test_looks_at_what_does_not_change_become_rare(world: World) -> None:
    await world.cluster()
    await world.settle()
    waits = [await world.look() for _ in range(10)]
    assert waits == sorted(waits)  # type: ignore[type-var]
    assert waits[-1] == 30.0


async def test_a_member_that_goes_silent_halfway_starts_no_second_sync(world: World) -> None:
    await world.served(COMMIT)
    started = world.member.started
    world.member.sync_down = True
    await world.look(3)
    assert world.member.started == started


async def test_a_dataset_that_cannot_be_written_blocks_no_other(world: World) -> None:
    await world.served(COMMIT)
    world.kube.refused |= {("apply_status", "bad"), ("apply", "bad-s3")}
    await world.dataset("bad", s3={"bucket": "bad"})
    await world.dataset("other")
    await world.look(3)
    assert (await world.reasons(DATASET, "other"))["Ready"] == "NeverSynced"
    assert (await world.get(SECRET, "other-s3"))["data"]
    assert (await world.reasons(CACHE_CLUSTER, "main"))["Ready"] == "AllMembersReady"


async def test_a_dataset_of_a_newer_operator_blocks_no_other_and_is_served_on(world: World) -> None:
    uid = await world.served(COMMIT)

    def newer(one: Object) -> Object:
        of_newer = one["kind"] == "Dataset" and one["metadata"]["name"] == "photos"
        return {**one, "spec": {**one["spec"], "sync": {"mode": "Live"}}} if of_newer else one

    world.kube.bend = newer
    other = await world.dataset("other")
    await world.look(3)
    assert world.member.state is not None
    assert {(one.uid, one.head) for one in world.member.state.datasets} == {(uid, COMMIT), (other, None)}


async def test_what_is_being_deleted_is_not_made_again(world: World) -> None:
    await world.cluster()
    await world.settle()
    held = {"apiVersion": "forebay.dev/v1alpha1", "kind": "CacheCluster"}
    await world.apply({**held, "metadata": {"name": "main", "finalizers": ["example.com/held"]}}, manager="holder")
    await world.kube.kube.delete(world.key)
    await world.kube.kube.delete(names.s3(world.namespace, "main"))
    world.kube.writes.clear()
    await world.look(2)
    assert world.kube.writes == []


async def test_what_users_must_hear_is_told_once(world: World) -> None:
    uid = await world.served()
    assert {(name, one.reason, one.warning) for name, one in world.told} == {
        ("main", "AllMembersReady", False),
        ("photos", "Readable", False),
    }
    del world.told[:]
    await world.due()
    world.member.fail(uid, "OriginDenied", world.now_ms)
    await world.look(3)
    said = [(name, one.reason, one.message) for name, one in world.told]
    assert said == [("photos", "OriginDenied", "OriginDenied: says the origin")]
    del world.told[:]
    status = {"containerStatuses": [{"name": "member", "ready": True, "restartCount": 2, "image": "", "imageID": ""}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "main-0", "namespace": world.namespace}}
    await world.kube.kube.apply_status({**pod, "status": status}, manager="kubelet-2", force=True)
    await world.look(2)
    assert [(name, one.reason, one.about) for name, one in world.told] == [("main", "MemberRestarted", "main-0")]


async def test_what_could_not_be_written_is_told_when_it_is(world: World) -> None:
    await world.cluster()
    await world.pod()
    world.kube.refused.add(("apply_status", "main"))
    with pytest.raises(KubeForbidden):
        await world.look(2)
    assert world.told == []
    world.kube.refused.clear()
    await world.look()
    assert [one.reason for _, one in world.told] == ["AllMembersReady"]
