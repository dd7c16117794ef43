import pytest
from pydantic import ValidationError

from forebay_cache.contract.volume import HANDLE_LIMIT, CsiConfig, VolumeAttributes, volume_handle

UID = "0b8e6f0e-8f0a-4a51-9d4e-0123456789ab"


def attributes(**other: str) -> VolumeAttributes:
    given = {"clusterUid": UID, "datasetUid": UID, "datasetNamespace": "n", "datasetName": "d"}
    return VolumeAttributes.model_validate(given | other)


def test_attributes_survive_a_persistent_volume() -> None:
    one = attributes(commit="a" * 64)
    assert VolumeAttributes.model_validate(one.attributes()) == one
    assert set(one.attributes()) == {"clusterUid", "datasetUid", "datasetNamespace", "datasetName", "commit"}
    assert all(isinstance(value, str) for value in one.attributes().values())
    assert (one.pinned, attributes().pinned) == ("a" * 64, None)


def test_a_handle_tells_namespaces_and_commits_apart_and_always_fits() -> None:
    handles = {volume_handle(UID, "a"), volume_handle(UID, "b"), volume_handle(UID, "a", "c" * 64)}
    assert len(handles) == 3
    assert len(volume_handle(UID, "n" * 63, "c" * 64)) <= HANDLE_LIMIT


def test_deadlines_stay_below_the_kubelets() -> None:
    with pytest.raises(ValidationError, match="deadline_s"):
        CsiConfig(deadline_s=120)
