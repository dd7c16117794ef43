from typing import Any

import pytest
from pydantic import SecretStr
from tests.rigs import objects

from forebay_cache.contract.admin import MemberReport
from forebay_cache.contract.config import (
    AccessKey,
    CacheRules,
    ClusterState,
    Credentials,
    DatasetState,
    MemberConfig,
    Source,
)
from forebay_operator.api import v1alpha1 as api
from forebay_operator.desired.documents import (
    Origins,
    cluster_state,
    config_map,
    dataset_state,
    state_secret,
    wanted_state,
)
from forebay_operator.facts import DatasetFacts, Facts, MemberFacts, read_state
from forebay_operator.model import CACHE_CLUSTER, Key

OLD, NEW, OTHER = "a" * 64, "b" * 64, "c" * 64
OWNER = {**objects.cluster("ns"), "metadata": {"name": "main", "namespace": "ns", "uid": "c-1"}}
KEYS = AccessKey(access_key_id="FBX", secret_access_key=SecretStr("a-secret"))


def dataset(name: str = "photos", *, head: str | None = NEW, uid: str = "d-1", **spec: Any) -> api.Dataset:
    commits = [{"id": one, "time": "2026-01-01T00:00:00Z", "files": 1, "bytes": 1} for one in (NEW, OLD)]
    made = {"commit": head, "files": 1, "bytes": 1, "time": "2026-01-01T00:00:00Z"}
    body = objects.dataset("ns", name, **spec)
    body["metadata"]["uid"] = uid
    return api.Dataset.model_validate({**body, "status": {"head": made, "commits": commits} if head else {}})


def state(name: str, uid: str) -> DatasetState:
    return DatasetState(uid=uid, namespace="ns", name=name, bucket=name, sources=(Source(name="s"),))


def test_a_members_configuration_follows_the_spec_and_reads_back() -> None:
    cluster = api.CacheCluster.model_validate(
        objects.cluster("ns", highWatermarkPercent=95, lowWatermarkPercent=60, s3={"port": 7999})
    )
    made = config_map(OWNER, cluster.spec)
    config = MemberConfig.model_validate_json(made.body["data"]["member.json"])
    assert (config.cluster, config.cluster_uid, config.data_port, config.admin_port) == ("ns/main", "c-1", 7999, 9450)
    assert config.peer_port == 9451
    assert (config.high_watermark_percent, config.low_watermark_percent) == (95, 60)
    assert 0.9 * 2**30 < config.capacity_bytes < 2**30, "the catalog has its share"
    assert config.admin_tls, "the admin port is never without certificates"


def test_what_a_dataset_may_have_of_the_stores_reaches_the_members_in_bytes_and_seconds() -> None:
    def rules(**cache: Any) -> CacheRules:
        return dataset_state(dataset(cache=cache), "d-1", None, Origins({})).cache

    assert rules() == CacheRules() == dataset_state(dataset(), "d-1", None, Origins({})).cache
    asked = {"policy": "S3FIFO", "priority": 7, "pin": "All", "idleTTL": "1h30m", "guaranteed": "1Gi", "max": "1.5Gi"}
    assert rules(**asked) == CacheRules(
        policy="S3FIFO", priority=7, pin=True, idle_ttl_s=5400, guaranteed_bytes=1 << 30, max_bytes=3 << 29
    )
    assert rules(max="0").max_bytes == 1, "0 would be no limit"


def test_the_state_survives_its_secret_and_is_not_readable_in_it() -> None:
    held = ClusterState(version=3, cluster_uid="c-1", datasets=(dataset_state(dataset(), "d-1", KEYS, Origins({})),))
    secret = state_secret(OWNER, held)
    assert secret.key.kind.kind == "Secret"
    assert read_state(secret.body) == held
    assert "a-secret" not in str(secret.body)
    assert "a-secret" not in repr(held)


@pytest.mark.parametrize(
    "secret", [None, {}, {"data": {}}, {"data": {"state.json": "!"}}, {"data": {"state.json": "e30="}}]
)
def test_a_state_that_nobody_can_read_is_none(secret: Any) -> None:
    assert read_state(secret) is None


A, B = (state("a", "d-1"),), (state("b", "d-1"),)


@pytest.mark.parametrize(
    ("before", "pushed", "datasets", "version"),
    [
        (None, 0, A, 1),
        (None, 7, A, 8),
        (ClusterState(version=4, cluster_uid="c-1", datasets=A), 4, A, 4),
        (ClusterState(version=4, cluster_uid="c-1", datasets=A), -1, A, 4),
        (ClusterState(version=4, cluster_uid="c-1", datasets=A), 4, B, 5),
        (ClusterState(version=4, cluster_uid="c-1", datasets=A), 9, A, 10),
        (ClusterState(version=4, cluster_uid="c-1", datasets=A), 9, B, 10),
        (ClusterState(version=4, cluster_uid="c-0", datasets=A), 4, A, 5),
    ],
)
def test_a_version_is_one_content_and_never_goes_back(
    before: ClusterState | None, pushed: int, datasets: tuple[DatasetState, ...], version: int
) -> None:
    made = cluster_state("c-1", datasets, before, pushed)
    assert (made.version, made.datasets, made.cluster_uid) == (version, datasets, "c-1")


@pytest.mark.parametrize(
    ("given", "head", "retained"),
    [
        (dataset(), NEW, (OLD,)),
        (dataset(head=None), None, ()),
        (dataset(version={"mode": "Pinned", "commit": OLD}), OLD, (NEW,)),
        (dataset(version={"mode": "Pinned", "commit": OTHER}), None, (NEW, OLD)),
    ],
)
def test_readers_see_the_head_or_the_pin(given: api.Dataset, head: str | None, retained: tuple[str, ...]) -> None:
    made = dataset_state(given, "d-1", None, Origins({}))
    assert (made.head, made.retained) == (head, retained)


def test_sources_bucket_access_and_credentials_reach_the_members() -> None:
    sources = [
        {"name": "one", "path": "x/", "s3": {"bucket": "photos", "endpoint": "http://s3", "identity": "lake"}},
        {"name": "two", "path": "y/", "directory": {"path": "/data"}},
    ]
    given = dataset(sources=sources, s3={"bucket": "pictures", "access": "Anonymous"})
    secret = Credentials(access_key_id="AK", secret_access_key=SecretStr("s"))
    made = dataset_state(given, "d-1", KEYS, Origins({"one": secret}))
    assert (made.bucket, made.anonymous, made.access_keys) == ("pictures", True, (KEYS,))
    one, two = made.sources
    assert one.s3 is not None
    assert (one.path, one.s3.bucket, one.s3.endpoint, one.s3.identity) == ("x/", "photos", "http://s3", "lake")
    assert two.directory is not None
    assert (one.credentials, two.credentials, two.directory.path) == (secret, None, "/data")


def facts(*datasets: DatasetFacts, before: ClusterState | None, version: int = 0, unreadable: str = "") -> Facts:
    report = MemberReport(
        member="m", cluster_uid="c-1", boot_id="b", state_version=version, ready=True, capacity_bytes=1,
        used_bytes=0, chunks=0, hits=0, misses=0, hit_bytes=0, miss_bytes=0,
    )  # fmt: skip
    member = MemberFacts("main-0", "1.2.3.4", ready=True, restarts=0, report=report, message="")
    key, kept = Key(CACHE_CLUSTER, "ns", "main"), frozenset({unreadable} - {""})
    model = api.CacheCluster.model_validate(objects.cluster("ns"))
    return Facts(key, OWNER, model, members=[member], datasets=datasets, state=before, unreadable=kept)


def seen(name: str, uid: str) -> DatasetFacts:
    model = dataset(name, uid=uid)
    return DatasetFacts({"metadata": {"uid": uid}}, model, None, False, {}, None, None)


def test_the_order_of_datasets_does_not_change_the_state() -> None:
    one = wanted_state(facts(seen("aaa", "1"), seen("bbb", "2"), before=None), frozenset())
    other = wanted_state(facts(seen("bbb", "2"), seen("aaa", "1"), before=one), frozenset())
    assert one == other


def test_a_dataset_whose_bucket_is_taken_is_not_served_and_one_that_is_unreadable_stays() -> None:
    before = ClusterState(version=4, cluster_uid="c-1", datasets=(state("newer", "3"), state("gone", "4")))
    given = facts(seen("aaa", "1"), seen("bbb", "2"), before=before, version=4, unreadable="3")
    made = wanted_state(given, frozenset({"2"}))
    assert [one.name for one in made.datasets] == ["aaa", "newer"]
    assert made.version == 5
