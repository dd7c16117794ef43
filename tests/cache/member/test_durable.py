"""The member's own copy of the newest state: the newer of two, whatever has become of the other."""

from pathlib import Path

import pytest

from forebay_cache.contract.config import AccessKey, ClusterState, DatasetState
from forebay_cache.member import durable
from forebay_cache.model.errors import StoreFailed

SECRET = "a-secret-5541"


def state(version: int) -> ClusterState:
    key = AccessKey(access_key_id="AK", secret_access_key=SECRET)
    one = DatasetState(uid="u", namespace="ns", name="photos", bucket="photos", access_keys=(key,), sources=())
    return ClusterState(version=version, cluster_uid="c", datasets=(one,))


def test_what_was_saved_is_loaded_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    for version in (1, 2):
        durable.save(str(path), state(version))
        assert durable.load(str(path)) == state(version)
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_the_newer_of_two_is_taken(tmp_path: Path) -> None:
    own, mounted = tmp_path / "own", tmp_path / "mounted"
    durable.save(str(own), state(3))
    durable.save(str(mounted), state(5))
    for paths in ((own, mounted), (mounted, own)):
        found = durable.load(*map(str, paths))
        assert found
        assert found.version == 5
    assert durable.load(None, str(tmp_path / "none")) is None


@pytest.mark.parametrize("cut", [0, 1, 40, -1])
def test_a_torn_one_is_told_without_its_secrets_and_the_other_is_taken(
    tmp_path: Path, cut: int, caplog: pytest.LogCaptureFixture
) -> None:
    own, mounted = tmp_path / "own", tmp_path / "mounted"
    durable.save(str(own), state(1))
    durable.save(str(mounted), state(2))
    mounted.write_bytes(mounted.read_bytes()[:cut])
    assert durable.load(str(own), str(mounted)) == state(1)
    (told,) = caplog.records
    assert told.getMessage() == "state not read"
    assert SECRET not in str(told.__dict__)


def test_a_disk_that_refuses_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreFailed, match="keeping the state"):
        durable.save(str(tmp_path / "file" / "state.json"), state(1))
